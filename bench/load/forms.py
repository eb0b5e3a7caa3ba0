"""How events travel in a request: one alone, or a batch of copies of it."""

from typing import Final, NamedTuple

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
BATCH_EVENTS: Final = 1_000


class Form(NamedTuple):
    """What a request looks like."""

    path: str = "/event"
    media_type: str = JSON
    events: int = 1
    """In each request."""
    is_minimal: bool = False
    """Whether the answer is to be a count instead of the rows."""

    @property
    def ids_kept(self) -> int:
        """Return how many ids of an answer the client keeps: of a batch the first and the last."""
        if self.is_minimal:
            return 0
        return 1 if self.events == 1 else 2

    def document(self, event: bytes) -> bytes:
        """Return a request's body."""
        if self.path == SINGLE.path:
            return event
        events = [event] * self.events
        return b"\n".join(events) if self.media_type == NDJSON else b"[%b]" % b",".join(events)

    @property
    def headers(self) -> dict[str, str]:
        """Return those that say what the body is, and what is to come back."""
        prefer = {"Prefer": "return=minimal"} if self.is_minimal else {}
        return {"Content-Type": self.media_type} | prefer


SINGLE: Final = Form()
BATCH: Final = Form("/events", JSON, BATCH_EVENTS)
NDJSON_BATCH: Final = BATCH._replace(media_type=NDJSON)
MINIMAL_BATCH: Final = BATCH._replace(is_minimal=True)
