"""The asker: a process that asks for all events of each app, again and again, whatever happens.

It asks as the insights process does, with a view of its own: archive plus tail; and the insights
process itself, over HTTP, how many there are: of several servers one after the other. Only what has
changed since the question before is written down, a line each, fields parted by tabs::

    counted app  begin  as of  end  events                       over HTTP
    asked   app  begin  as of  end  events  of them different   nanoseconds of the monotonic clock
    seen    app  digests          events that were not in the answer before this one
    gone    app  digests          events that were
    failed  app  begin  end  why  no answer, which is none that is wrong

A digest stands for an event's id. SIGTERM ends it behind one more answer for each app.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from bench.audit.failpoints import BUG_VARIABLE
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.view import View, Views

DIGEST: Final = "md5_number_lower(id::VARCHAR)"
"""Of an id, as DuckDB takes it; `questions.digest` takes the same."""
_SELECT: Final = f"SELECT {DIGEST} AS digest FROM {{}}"  # noqa: S608 - names of ours
_PAUSE_S: Final = 0.15
_RETRY_S: Final = 0.1
_MEMORY_BYTES: Final = 64 << 20
_LAST_TRIES: Final = 300
_PAST: Final = timedelta(days=200)
"""Older is nothing that clients send."""
_HTTP_TIMEOUT_S: Final = 5.0
_US_NS: Final = 1_000

_Digests = np.ndarray[Any, np.dtype[np.uint64]]


class Asker:
    """Asks, and writes down what came of it."""

    def __init__(
        self, views: Views, ports: Iterable[int], path: Path, app_ids: list[int], keys: list[str]
    ) -> None:
        self._views = views
        self._ports = cycle(ports)
        self._keys = keys
        self._file = path.open("ab", buffering=0)
        self._apps = app_ids
        self._known: list[_Digests] = [np.empty(0, np.uint64) for _ in app_ids]
        self.is_stopping = False

    def run(self) -> None:
        """Ask until told to stop, or until whoever has started this is gone."""
        parent = os.getppid()
        while not self.is_stopping and os.getppid() == parent:
            for app in range(len(self._apps)):
                self._ask(app)
                time.sleep(_PAUSE_S)
                self._count(app)
                time.sleep(_PAUSE_S)
        for app in range(len(self._apps)):
            for _ in range(_LAST_TRIES):
                if self._ask(app) and self._count(app):
                    break
                time.sleep(_RETRY_S)

    def _ask(self, app: int) -> bool:
        """Ask once; return whether there was an answer."""
        begin_ns = time.monotonic_ns()
        try:
            with self._views.view(app_id=self._apps[app]) as view:
                found = _digests(view)
                as_of_ns = int(view.as_of.timestamp() * 1e6) * _US_NS
        except ArchiveTrouble as trouble:
            return self._fail(app, begin_ns, f"{type(trouble).__name__}: {trouble}")
        end_ns = time.monotonic_ns()
        as_of_ns += end_ns - time.time_ns()
        distinct = np.unique(found)
        self._write("asked", app, begin_ns, as_of_ns, end_ns, len(found), len(distinct))
        self._tell("seen", app, np.setdiff1d(distinct, self._known[app], assume_unique=True))
        self._tell("gone", app, np.setdiff1d(self._known[app], distinct, assume_unique=True))
        self._known[app] = distinct
        return True

    def _count(self, app: int) -> bool:
        """Ask once over HTTP; return whether there was an answer."""
        begin_ns = time.monotonic_ns()
        try:
            events, as_of = _counted(next(self._ports), self._keys[app])
        except (OSError, HTTPException) as error:
            return self._fail(app, begin_ns, f"{type(error).__name__}: {error}")
        end_ns = time.monotonic_ns()
        as_of_ns = int(as_of.timestamp() * 1e6) * _US_NS + end_ns - time.time_ns()
        self._write("counted", app, begin_ns, as_of_ns, end_ns, events)
        return True

    def _fail(self, app: int, begin_ns: int, why: str) -> bool:
        flat = " ".join(why.split())
        self._write("failed", app, begin_ns, time.monotonic_ns(), flat)
        return False

    def _tell(self, kind: str, app: int, digests: _Digests) -> None:
        if len(digests):
            self._write(kind, app, " ".join(f"{each:x}" for each in digests.tolist()))

    def _write(self, *fields: object) -> None:
        self._file.write("\t".join(map(str, fields)).encode() + b"\n")


def _counted(port: int, key: str) -> tuple[int, datetime]:
    """Return how many events an app has, and as of when; raise OSError or HTTPException."""
    today = datetime.now(UTC).date()
    start, end = today - _PAST, today + timedelta(days=2)
    connection = HTTPConnection("127.0.0.1", port, timeout=_HTTP_TIMEOUT_S)
    try:
        address = f"/v1/trends?from={start}&to={end}&interval=month&timezone=UTC"
        connection.request("GET", address, headers={"X-API-Key": key})
        response = connection.getresponse()
        body = response.read()
        if response.status != HTTPStatus.OK:
            raise HTTPException(f"{response.status} {body[:200]!r}")
    finally:
        connection.close()
    answer = orjson.loads(body)
    events = sum(sum(each["values"]) for each in answer["data"]["series"])
    return events, datetime.fromisoformat(answer["as_of"])


def _digests(view: View) -> _Digests:
    """Return the digests of all events, each as often as it is there."""
    parts = " UNION ALL ".join(_SELECT.format(each) for each in view.sources)
    found: _Digests = view.connection.execute(parts).fetchnumpy()["digest"]
    return np.asarray(found, np.uint64)


def main(url: str, archive: str, ports: str, answers: str, *apps: str) -> None:
    """Ask for all `apps`, each an id and a key that reads, with a comma between; so are `ports`."""
    if bug := os.environ.get(BUG_VARIABLE, ""):
        from bench.audit import bugs  # noqa: PLC0415 - an honest one does not load them

        bugs.BUGS[bug].plant()
    os.nice(5)
    views = Views(url, Path(archive), memory_max=_MEMORY_BYTES, threads=1)
    pairs = [each.split(",") for each in apps]
    ids, keys = [int(each) for each, _ in pairs], [key for _, key in pairs]
    asker = Asker(views, map(int, ports.split(",")), Path(answers), ids, keys)

    def stop(*_: object) -> None:
        asker.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    asker.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
