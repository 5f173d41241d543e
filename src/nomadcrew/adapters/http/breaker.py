"""A circuit breaker: a failing service is not called for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nomadcrew.core.errors import Unavailable

FAILURES = 5
REST_S = 30.0


class Breaker:
    """Lets calls through until several in a row fail; then none for `rest_s`, then one trial call.

    If the trial succeeds, all calls go through again; else the pause starts again. Only `Unavailable` is a failure.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        rest_s: float = REST_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures = failures
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._failed = 0
        self._trial_at_s = 0.0
        self._trying = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make a call inside the block.

        Raises:
            Unavailable: calls are paused.
        """
        probing = self._failed >= self._max_failures
        if probing and (self._trying or self._monotonic() < self._trial_at_s):
            raise Unavailable(details="paused after repeated failures")
        self._trying = probing
        try:
            yield
        except Unavailable:
            self._failed += 1
            if self._failed >= self._max_failures:
                self._trial_at_s = self._monotonic() + self._rest_s
            raise
        else:
            self._failed = 0
        finally:
            if probing:
                self._trying = False
