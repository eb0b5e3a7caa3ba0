"""What SDKs take for an answer: one success for all of them, and errors that are flat."""

from typing import Final

import orjson

from ingest.errors import RETRY_AFTER_S, Refusal

_UNAVAILABLE: Final = 503

SUCCESS: Final = orjson.dumps(
    {"success": True, "code": 200, "status": 1, "error": None, "results": {}}
)
"""Some count anything but a 200 as a failure, and one loses events where `code` is missing."""


class FlatRefusal(Refusal):
    """A refusal whose body has its members at the top, as SDKs look for them there."""

    def __init__(self, refusal: Refusal, status: int | None = None, prefix: str = "") -> None:
        super().__init__(refusal.code, prefix + refusal.message)
        self.status = status or refusal.status
        self.headers = dict(refusal.headers)
        if self.status == _UNAVAILABLE:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def body(self) -> bytes:
        """Return the error as JSON."""
        return orjson.dumps(
            {
                "success": False,
                "code": self.status,
                "status": 0,
                "error": self.message,
                "message": self.message,
                "detail": self.code,
            }
        )
