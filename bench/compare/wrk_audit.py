"""The audit of what wrk sent: it keeps no ids, so what is stored is held against what it counted.

wrk cuts its connections when its time is over. Up to one request on each is stored by then, or a
moment later, whose answer nobody counted: so many rows more than answers are right, and no fewer.
"""

import re
import time
from typing import Final
from urllib.request import urlopen

from bench.errors import BenchError
from bench.load import database
from bench.load.payloads import Payload
from bench.servers import Endpoint

_SETTLE_TIMEOUT_S: Final = 10.0
_SETTLE_POLL_S: Final = 0.1
_METRICS_TIMEOUT_S: Final = 10.0
_REQUESTS: Final = re.compile(rb'nonito_requests_total\{route="/event",status="(\d+)"\} ([1-9]\S*)')
_GOOD: Final = "200"


def settled_rows(database_url: str) -> int:
    """Return how many rows there are once they get no more."""
    end_s = time.monotonic() + _SETTLE_TIMEOUT_S
    rows, before = database.count(database_url), -1
    while rows != before and time.monotonic() < end_s:
        time.sleep(_SETTLE_POLL_S)
        rows, before = database.count(database_url), rows
    return rows


def miscounted(rows: int, answers: int, connections: int) -> list[str]:
    """Return what is wrong with so many rows of one run of wrk."""
    if 0 <= rows - answers <= connections:
        return []
    return [f"{answers} answers to {connections} connections, {rows} rows"]


def altered(database_url: str, payload: Payload, key: str) -> list[str]:
    """Return what is wrong with what is stored; an app's ids are unique by the table's key."""
    found = {
        "rows are not what was sent": database.count_others(database_url, payload),
        "rows are another app's": database.count_strangers(database_url, key),
    }
    return [f"{n} {what}" for what, n in found.items() if n]


def other_statuses(endpoint: Endpoint) -> list[str]:
    """Return which answers but 200 our server has counted; raise BenchError."""
    try:
        with urlopen(
            f"http://{endpoint.host}:{endpoint.port}/metrics", timeout=_METRICS_TIMEOUT_S
        ) as answer:
            counted = dict(_REQUESTS.findall(answer.read()))
    except OSError as error:
        raise BenchError(f"/metrics: {error}") from error
    statuses = {status.decode(): float(n) for status, n in counted.items()}
    if not statuses.get(_GOOD):
        return ["the server counted no 200"]
    return [f"{n:.0f} answers of {status}" for status, n in statuses.items() if status != _GOOD]
