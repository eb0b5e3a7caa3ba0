"""Posts every line of an NDJSON file as the API reference's Python example does.

Usage: python requests_client.py URL KEY FILE; prints each answer's body on a line.
"""

import json
import sys
from pathlib import Path
from typing import Any

import requests


def send_event(url: str, key: str, event_name: str, event_params: Any) -> Any:  # noqa: ANN401
    """Send one event; return the answer."""
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    payload = {"event_name": event_name, "event_params": event_params}
    return requests.post(url, json=payload, headers=headers, timeout=30).json()


def main(url: str, key: str, path: str) -> None:
    """Send all of a file."""
    for line in Path(path).read_bytes().splitlines():
        event = json.loads(line)
        answer = send_event(url, key, event["event_name"], event["event_params"])
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
