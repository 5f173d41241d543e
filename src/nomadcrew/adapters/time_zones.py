"""Time zones from coordinates, offline."""


class TzfTimeZones:
    """`TimeZones` on the borders that tzfpy has.

    The library is imported with the first look-up: its borders take 34 MB and a tenth of a second, which no start
    should pay.
    """

    def at(self, latitude: float, longitude: float) -> str:
        from tzfpy import get_tz

        return get_tz(longitude, latitude)
