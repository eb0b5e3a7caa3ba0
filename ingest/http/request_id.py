"""`X-Request-Id`: by what a client, a proxy and our log call the same request.

What comes with a request goes back with its answer; without one, the trace of `traceparent` (W3C
Trace Context) does. None is made here: whoever sends none would not know it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.store.api_keys import Kind

REQUEST_ID: Final = "X-Request-Id"
TRACEPARENT: Final = "traceparent"
CHARS_MAX: Final = 128

# Nothing that a log, a shell or a page could take for more than a word, and no API key.
_KEY_STARTS: Final = "|".join(kind.start for kind in Kind)
_ID: Final = re.compile(rf"(?!{_KEY_STARTS})[0-9A-Za-z._~:/+=@-]{{1,{CHARS_MAX}}}")
_TRACE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def request_id_of(ids: Sequence[str], traceparents: Sequence[str]) -> str:
    """Return the id that a request has by the values of both headers; "" for none that is good."""
    if len(ids) == 1 and _ID.fullmatch(ids[0]):
        return ids[0]
    trace = _TRACE.fullmatch(traceparents[0]) if len(traceparents) == 1 else None
    return trace[1] if trace else ""


def headers_of_id(request_id: str) -> Mapping[str, str]:
    """Return the headers of an answer that tell an id."""
    return {REQUEST_ID: request_id} if request_id else {}
