"""Requests as SDKs really sent them, recorded: with a key of ours, and as they were encoded."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests

from tests.support.server import Server

DIRECTORY: Final = Path(__file__).parents[1] / "data/sdks"
TIMEOUT_S: Final = 20
_KEYS: Final = ("wk_fake", "phc_fake", "amp_fake", "client_fake")
_WEBSITE: Final = '"website":"0190a5b2-6b7c-7abc-8def-0123456789ab"'


class Recorded(NamedTuple):
    """One request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def send(self, server: Server) -> requests.Response:
        """Send it."""
        return requests.request(
            self.method,
            f"{server.url}{self.path}",
            params=self.query,
            data=self.body if self.method == "POST" else None,
            headers=self.headers,
            timeout=TIMEOUT_S,
        )


def recorded(name: str, key: str) -> Iterator[Recorded]:
    """Yield the requests of a recording, but for preflights, with a key in the place of theirs."""
    for line in (DIRECTORY / f"{name}.ndjson").read_text().splitlines():
        found = json.loads(line)
        if found["method"] != "OPTIONS":
            yield _with_key(found, key)


def _with_key(found: dict[str, Any], key: str) -> Recorded:
    body = _body(found, key)
    headers = {
        name: value.replace("client_fake", key)
        for name, value in found["headers"].items()
        if name != "transfer-encoding"
    }
    if headers.get("authorization", "").startswith("Basic"):
        headers["authorization"] = f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
    elif "authorization" in headers:
        headers["authorization"] = f"Bearer {key}"
    if "gzip" in found["content_encoding"]:
        body = gzip.compress(body)
    return Recorded(found["method"], found["path"], found["query"], headers, body)


def _body(found: dict[str, Any], key: str) -> bytes:
    text = found["body_text"]
    if text is None:
        return base64.b64decode(found["body_base64"])
    for each in _KEYS:
        text = text.replace(each, key)
    return str(text).replace(_WEBSITE, f'"website":"{key}"').encode()
