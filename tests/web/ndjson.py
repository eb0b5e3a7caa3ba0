"""Teaches schemathesis to send NDJSON: text as it is, and whatever else as a line of JSON."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def serialize(_: Any, value: Any) -> bytes:  # noqa: ANN401 - schemathesis's signature
    """Return a body."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "surrogatepass")
