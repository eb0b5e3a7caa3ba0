"""The log of requests: a line for some of them, where the operator asks for it (`log.requests`).

1. Of successes it writes so many lines a second at most, and of refusals as many; the next one
   says how many were skipped.
2. A line has the method, the route, the status, the code of a refusal, the app, the request's id,
   and how long its answer took. It never has a key, a query, a header or a body.
3. Switched off, it costs nothing.
"""

import time

import structlog

from ingest.store.apps import App

log = structlog.get_logger(__name__)

OTHER = "other"
"""The route of a path that nothing is at: what a client makes up is not for a log."""


class RequestLog:
    """Lines of two kinds, and how many of each were written in this second."""

    def __init__(self, lines_per_s_max: int = 0) -> None:
        self.lines_per_s_max = lines_per_s_max
        """0 is none."""
        self._successes = _Kind()
        self._refusals = _Kind()

    @property
    def is_on(self) -> bool:
        """Whether any lines are written."""
        return self.lines_per_s_max > 0

    @property
    def has_room(self) -> bool:
        """Whether the next success is written."""
        return self._successes.has_room(self.lines_per_s_max)

    def note(  # noqa: PLR0913 - the values of a line
        self,
        method: str,
        route: str,
        status: int,
        *,
        code: str | None = None,
        app: App | None = None,
        request_id: str = "",
        started_s: float = 0.0,
    ) -> None:
        """Write a line if there is room; `started_s` is of the monotonic clock, 0 if not known."""
        if not self.is_on:
            return
        kind = self._successes if code is None else self._refusals
        if not kind.has_room(self.lines_per_s_max):
            kind.skipped += 1
            return
        line = {
            "method": method,
            "route": route,
            "status": status,
            "code": code,
            "app": app and app.name,
            "request_id": request_id or None,
            "ms": round((time.monotonic() - started_s) * 1000, 1) if started_s else None,
            "skipped": kind.take_skipped(),
        }
        log.info("request", **{name: value for name, value in line.items() if value is not None})


class _Kind:
    """The lines of one kind."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self.skipped = 0

    def has_room(self, lines_per_s_max: int) -> bool:
        """Whether one more may be written in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        return self._lines < lines_per_s_max

    def take_skipped(self) -> int | None:
        """Count a line; return how many were skipped before it, None for none."""
        self._lines += 1
        skipped, self.skipped = self.skipped, 0
        return skipped or None
