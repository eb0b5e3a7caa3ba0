"""How soon an event is in an answer: it is sent just after the same question was asked.

An answer may be kept for a moment, so that is the worst time to come. The question is of all the
events there are.
"""

import http.client
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from bench.console import Update
from bench.errors import BenchError
from bench.insights.filling import Site
from bench.insights.serving import Reader, make_key, serving
from bench.load import database
from bench.load.database import Session
from bench.servers import Endpoint
from ingest.store.api_keys import Kind

PROBES: Final = 3
"""For each round."""

_NAME: Final = "bench_probe"
_LATEST_S: Final = 30.0
_TIMEOUT_S: Final = 30.0
_OK: Final = 200


def measure(site: Site, rounds: int, update: Update) -> list[float]:
    """Return for each probe the seconds from its 200 to an answer with it; raise BenchError."""
    key = make_key(site, Kind.WRITE)
    try:
        with serving(site) as served:
            return [
                _probe(site, served.endpoint, served.reader, key, update)
                for _ in range(rounds * PROBES)
            ]
    finally:
        database.run(site.place.database_url, lambda connection: _clear(connection, site))


def _probe(site: Site, endpoint: Endpoint, reader: Reader, key: str, update: Update) -> float:
    before = _count(site, reader)
    _send(endpoint, key)
    sent_s = time.perf_counter()
    while _count(site, reader) == before:
        if time.perf_counter() - sent_s > _LATEST_S:
            raise BenchError(f"an event is in no answer {_LATEST_S:g} s after its 200")
    took_s = time.perf_counter() - sent_s
    update(advance=1)
    return took_s


def _count(site: Site, reader: Reader) -> int:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    parameters = {
        "event": _NAME,
        "from": site.filled.start.isoformat(),
        "to": end.isoformat(),
        "timezone": "UTC",
    }
    (series,) = reader.ask("/v1/trends", parameters)["series"]
    return int(series["total"])


def _send(endpoint: Endpoint, key: str) -> None:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_TIMEOUT_S)
    body = msgspec.json.encode({"event_name": _NAME, "event_params": {"user_id": "bench"}})
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connection.request("POST", "/event", body, headers)
    status = connection.getresponse().status
    connection.close()
    if status != _OK:
        raise BenchError(f"a probe was answered with {status}")


async def _clear(connection: Session, site: Site) -> None:
    """Take the probes out again, which are in no archive."""
    await connection.execute(
        "DELETE FROM events WHERE app_id = $1 AND id >= uuid_at($2) AND event_name = $3",
        site.app_id,
        site.filled.end,
        _NAME,
    )
