"""A server of the product's own with its insights process, and somebody who asks it."""

import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from bench import machine, servers
from bench.errors import BenchError
from bench.insights.filling import APP, Site
from bench.load import database
from bench.load.database import Session
from bench.servers import Endpoint
from ingest.store import api_keys
from ingest.store.api_keys import Kind

_GREETING: Final = "Answering questions on "
_TIMEOUT_S: Final = 120.0
_PATIENCE_S: Final = 60.0
"""A server on a busy machine may not reach Postgres in time; what asking again takes counts."""
_POLL_S: Final = 0.05
_OK: Final = 200
_UNAVAILABLE: Final = 503
_PER_MINUTE_MAX: Final = 10_000_000


class Reader:
    """Asks a server questions, one after the other, on one connection."""

    def __init__(self, url: str, key: str) -> None:
        address = urlsplit(url)
        self._http = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=_TIMEOUT_S
        )
        self._key = key

    def ask(self, path: str, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
        """Return the data of an answer, asked again while it can't be had; raise BenchError."""
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            status, body = self._get(f"{path}?{urlencode(parameters)}")
            if status == _OK:
                return msgspec.json.decode(body)["data"]
            if status != _UNAVAILABLE or time.monotonic() > end_s:
                raise BenchError(f"{path}: {status} {body[:300]!r}")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _get(self, target: str) -> tuple[int, bytes]:
        try:
            self._http.request("GET", target, headers={"X-API-Key": self._key})
            response = self._http.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise BenchError(f"the insights process: {error!r}") from error


class Served(NamedTuple):
    """A running server."""

    endpoint: Endpoint
    reader: Reader

    @property
    def insights_pid(self) -> int:
        """Return its insights process; raise BenchError if there is none."""
        for pid in machine.children(self.endpoint.pid or 0):
            if machine.command_line(pid)[-1:] == ["insights"]:
                return pid
        raise BenchError("the server has no insights process")


@contextmanager
def serving(site: Site) -> Iterator[Served]:
    """Run a server that does not archive on all cores, until it answers; raise BenchError."""
    settings = {
        "archive.enabled": False,
        "archive.path": site.place.archive,
        "dashboard.enabled": True,
        "dashboard.port": 0,
        "dashboard.questions_per_minute_max": _PER_MINUTE_MAX,
    }
    arguments = ("-m", "ingest", "--database-url", site.place.database_url, "serve", "--port", "0")
    key = make_key(site, Kind.READ)
    with servers.serving(arguments, machine.all_cores(), settings) as (endpoint, process):
        assert process.stdout is not None  # noqa: S101 - for the type checker
        line = process.stdout.readline().decode()
        if not line.startswith(_GREETING):
            raise BenchError(f"the server does not say where it answers questions, but {line!r}")
        with closing(Reader(line.removeprefix(_GREETING).strip(), key)) as reader:
            reader.ask("/v1/events", {"limit": "1"})
            yield Served(endpoint, reader)


def make_key(site: Site, kind: Kind) -> str:
    """Make a key of the app whose events are asked for."""

    async def work(connection: Session) -> str:
        return await api_keys.create(connection, APP, "python -m bench", None, kind)

    return database.run(site.place.database_url, work)
