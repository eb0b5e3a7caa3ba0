"""Sends with CloudEvents' own SDK: `python cloud_events.py ADDRESS KEY ATTRIBUTES DATA`.

An event in each mode, with the mode's name for its id, and two of bytes, the last of them twice.
Prints the answers.
"""

import json
import sys
from datetime import datetime
from typing import Any, Final

import requests
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

TIMEOUT_S: Final = 30
BATCHED: Final = "application/cloudevents-batch+json; charset=UTF-8"
BINARY: Final = "application/octet-stream"
BYTES: Final = b"\x00\x01\xff"


def send(url: str, key: str, message: HTTPMessage) -> str:
    """Send it, as an app does: the SDK makes messages and sends none."""
    headers = {"X-API-Key": key, **message.headers}
    return requests.post(url, message.body, headers=headers, timeout=TIMEOUT_S).text


def batch(*events: CloudEvent) -> HTTPMessage:
    """Return a batch, of which the SDK knows the parts."""
    parts = b",".join(map(JSONFormat().write, events))
    return HTTPMessage({"content-type": BATCHED}, b"[%b]" % parts)


def main(url: str, key: str, attributes: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """Send all; return the answers."""
    attributes["time"] = datetime.fromisoformat(attributes["time"])

    def event(event_id: str) -> CloudEvent:
        return CloudEvent({**attributes, "id": event_id}, data)

    def of_bytes(event_id: str) -> CloudEvent:
        return CloudEvent({**attributes, "datacontenttype": BINARY, "id": event_id}, BYTES)

    one, many = f"{url}/event", f"{url}/events"
    return [
        send(one, key, to_binary_event(event("binary"))),
        send(one, key, to_structured_event(event("structured"))),
        send(many, key, to_structured_event(event("alone"))),
        send(many, key, batch(event("first"), event("second"))),
        send(one, key, to_binary_event(of_bytes("binary-bytes"))),
        send(one, key, to_structured_event(of_bytes("bytes"))),
        send(many, key, batch(of_bytes("bytes"))),
    ]


if __name__ == "__main__":
    answers = main(sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:5]))
    sys.stdout.write("\n".join(answers))
