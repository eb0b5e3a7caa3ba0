"""What one key, or account, may ask: so many questions at once, and so many a minute."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ingest.api.refusals import Code, Refused

AT_ONCE: Final = 2
_KEYS_MAX: Final = 10_000
_MINUTE_S: Final = 60.0


class _Use:
    """What one has left: a token for each question, which come back one by one."""

    def __init__(self, a_minute: int, whose: str, now_s: float) -> None:
        self.running = 0
        self._a_minute = a_minute
        self._whose = whose
        self._tokens = float(a_minute)
        self._at_s = now_s

    def take(self, now_s: float) -> None:
        """Count a question; raise Refused."""
        if self.running >= AT_ONCE:
            message = (
                f"{AT_ONCE} questions of this {self._whose} are being answered; ask one at a time."
            )
            raise Refused(Code.TOO_MANY_REQUESTS, message, retry_after_s=1)
        self._tokens = self.tokens(now_s)
        self._at_s = now_s
        if self._tokens < 1:
            wait_s = math.ceil((1 - self._tokens) * _MINUTE_S / self._a_minute)
            message = f"Of one {self._whose}, {self._a_minute} questions a minute are answered."
            raise Refused(Code.TOO_MANY_REQUESTS, message, retry_after_s=wait_s)
        self._tokens -= 1
        self.running += 1

    def tokens(self, now_s: float) -> float:
        """Return how many it has now."""
        come_back = (now_s - self._at_s) * self._a_minute / _MINUTE_S
        return min(self._a_minute, self._tokens + come_back)

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return not self.running and self.tokens(now_s) >= self._a_minute


class Allowance:
    """Of all that ask."""

    def __init__(self, a_minute: int, whose: str = "key") -> None:
        """`whose` is said to who asks too much."""
        self._a_minute = a_minute
        self._whose = whose
        self._uses: dict[bytes, _Use] = {}

    @contextmanager
    def question(self, key: bytes) -> Iterator[None]:
        """Count a question of a key for as long as it is answered; raise Refused."""
        now_s = time.monotonic()
        use = self._uses.get(key)
        if use is None:
            self._forget_idle(now_s)
            use = self._uses[key] = _Use(self._a_minute, self._whose, now_s)
        use.take(now_s)
        try:
            yield
        finally:
            use.running -= 1

    def _forget_idle(self, now_s: float) -> None:
        if len(self._uses) < _KEYS_MAX:
            return
        self._uses = {key: use for key, use in self._uses.items() if not use.is_idle(now_s)}
        if len(self._uses) >= _KEYS_MAX:
            raise Refused(Code.OVERLOADED, "Too many keys ask at once.", retry_after_s=1)
