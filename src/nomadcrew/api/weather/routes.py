"""The weather at a trip's destination: /v1/trips/{id}/weather."""

from nomadcrew.api.weather.bodies import WeatherView, weather_view
from nomadcrew.core.weather import service
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Gate, Idempotency, Routes

routes = Routes("weather", ports=("destinations", "limits", "open_sessions", "weather_of"), uses_outbox=False)


@routes.get("/v1/trips/{id}/weather", gate=Gate("trip", "read"), bucket="weather")
async def get_weather(call: Call) -> WeatherView:
    """Get the weather at the trip's destination.

    Also the forecast for those of the trip's days that are among the next 16, as days at the destination. All trips
    within about a kilometre share an answer of the weather service for 15 minutes. If the service fails, the last
    answer of up to 24 hours is returned as `stale`. Refused with `no_destination` if both coordinates are zero.
    """
    return await _weather(call)


@routes.post(
    "/v1/trips/{id}/weather/trigger", gate=Gate("trip", "read"), bucket="weather", idempotency=Idempotency.NEVER
)
async def trigger_weather(call: Call) -> WeatherView:
    """Get the weather at the trip's destination.

    The same as `GET /v1/trips/{id}/weather`, for older clients.
    """
    return await _weather(call)


async def _weather(call: Call) -> WeatherView:
    weather = await service.get_weather(
        call.trip_id,
        call.user_id,
        destinations=call.ports.destinations,
        weather_of=call.ports.weather_of,
        now=call.now,
    )
    return weather_view(weather)
