"""Flags in AppConfig, fetched at most once a minute."""

import json
import logging
import time
from collections.abc import Callable

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.wire.flags import flags_in

log = logging.getLogger("nomadcrew.flags")

POLL_S = 60.0
TIMEOUT_S = 1.0


class AppConfigFlags:
    """`Flags` of a profile of type AWS.AppConfig.FeatureFlags."""

    def __init__(
        self, appconfig: AwsClient, profile_path: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`profile_path`: the ids of application, environment and profile, separated by slashes.

        Raises:
            ValueError: it has another form.
        """
        self._appconfig = appconfig
        application, environment, profile = profile_path.split("/")
        self._session = {
            "ApplicationIdentifier": application,
            "EnvironmentIdentifier": environment,
            "ConfigurationProfileIdentifier": profile,
        }
        self._monotonic = monotonic
        self._token: str | None = None
        self._fetch_at_s = float("-inf")
        self._flags: dict[str, bool] = {}

    async def enabled(self, name: str, *, otherwise: bool) -> bool:
        now_s = self._monotonic()
        if now_s >= self._fetch_at_s:
            # Set before the request, so that concurrent callers neither wait nor send another one.
            self._fetch_at_s = now_s + POLL_S
            await self._fetch()
        return self._flags.get(name, otherwise)

    async def _fetch(self) -> None:
        token, self._token = self._token, None
        try:
            body, self._token = await self._latest(token or await self._start())
            if body:  # empty if nothing has changed
                self._flags = flags_in(body)
        except (Unavailable, AwsError, ValueError) as error:
            log.warning("flags unreadable, keeping the previous ones", exc_info=error)

    async def _start(self) -> str:
        body, _ = await self._appconfig.request(
            "POST", "/configurationsessions", self._session, timeout_s=TIMEOUT_S
        )
        return str(json.loads(body)["InitialConfigurationToken"])

    async def _latest(self, token: str) -> tuple[bytes, str]:
        """The flags, empty if they have not changed, and the token for the next call."""
        # A token is valid for one call.
        body, headers = await self._appconfig.request(
            "GET", "/configuration", query={"configuration_token": token}, timeout_s=TIMEOUT_S, repeatable=False
        )
        return body, headers["next-poll-configuration-token"]
