"""Flags in AppConfig, asked for at most once a minute."""

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
        self, appconfig: AwsClient, where: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`where` is the ids of application, environment and profile, with slashes between them.

        Raises:
            ValueError: it is not.
        """
        self._appconfig = appconfig
        application, environment, profile = where.split("/")
        self._session = {
            "ApplicationIdentifier": application,
            "EnvironmentIdentifier": environment,
            "ConfigurationProfileIdentifier": profile,
        }
        self._monotonic = monotonic
        self._token: str | None = None
        self._ask_at_s = float("-inf")
        self._flags: dict[str, bool] = {}

    async def enabled(self, name: str, *, otherwise: bool) -> bool:
        now_s = self._monotonic()
        if now_s >= self._ask_at_s:
            # Set before asking: others need not wait for the answer, nor ask as well.
            self._ask_at_s = now_s + POLL_S
            await self._ask()
        return self._flags.get(name, otherwise)

    async def _ask(self) -> None:
        token, self._token = self._token, None
        try:
            body, self._token = await self._latest(token or await self._start())
            if body:  # nothing is what there is to say when nothing has changed
                self._flags = flags_in(body)
        except (Unavailable, AwsError, ValueError) as error:
            log.warning("flags cannot be read and stay as they were", exc_info=error)

    async def _start(self) -> str:
        body, _ = await self._appconfig.request(
            "POST", "/configurationsessions", self._session, timeout_s=TIMEOUT_S
        )
        return str(json.loads(body)["InitialConfigurationToken"])

    async def _latest(self, token: str) -> tuple[bytes, str]:
        """What the flags are, empty where that is known already, and the token to ask with next."""
        # A token is good for one call.
        body, headers = await self._appconfig.request(
            "GET", "/configuration", query={"configuration_token": token}, timeout_s=TIMEOUT_S, repeatable=False
        )
        return body, headers["next-poll-configuration-token"]
