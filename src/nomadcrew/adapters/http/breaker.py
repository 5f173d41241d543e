"""A circuit breaker: a service that fails is left alone for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nomadcrew.core.errors import Unavailable

FAILURES = 5
REST_S = 30.0


class Breaker:
    """Lets calls through until several in a row were in vain, then none for a while, then one to see.

    If that one succeeds all go through again; if not, the rest begins anew. What counts is `Unavailable`.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        rest_s: float = REST_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._failed = 0
        self._closed_again_at_s = 0.0
        self._trying = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make a call inside.

        Raises:
            Unavailable: the service is left alone just now.
        """
        probing = self._failed >= self._most
        if probing and (self._trying or self._monotonic() < self._closed_again_at_s):
            raise Unavailable(details="left alone after failures in a row")
        self._trying = probing
        try:
            yield
        except Unavailable:
            self._failed += 1
            if self._failed >= self._most:
                self._closed_again_at_s = self._monotonic() + self._rest_s
            raise
        else:
            self._failed = 0
        finally:
            if probing:
                self._trying = False
