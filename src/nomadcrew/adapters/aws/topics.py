"""Topics of IoT Core, which publish a trip's updates to MQTT subscribers."""

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId

AT_LEAST_ONCE = "1"


class IotTopics:
    """`Topics` of IoT Core."""

    def __init__(self, iot: AwsClient) -> None:
        self._iot = iot

    async def publish(self, topic: str, frame: str) -> None:
        try:
            await self._iot.request("POST", f"/topics/{topic}", frame.encode(), query={"qos": AT_LEAST_ONCE})
        except AwsError as error:
            raise Unavailable(details=f"topics: {error.code}") from error


class UpdatesOf:
    """`TopicOf` with a prefix that separates the stages of one account."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, trip_id: TripId) -> str:
        return f"{self._prefix}/trips/{trip_id}/updates"
