"""A server that is asked: two apps, each with a key that writes and one that reads."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import requests

from ingest.store import api_keys
from ingest.store.api_keys import Kind
from tests.support.postgres import make_postgres
from tests.support.server import Server, running_server, wait_for

TIMEOUT_S = 60


class Keys(NamedTuple):
    """The keys of one app."""

    write: str
    read: str


def make_keys(url: str, app: str) -> Keys:
    """Make an app with both."""

    async def work() -> Keys:
        async with make_postgres(url).session() as connection:
            write, read = [
                await api_keys.create(connection, app, "", None, kind=kind) for kind in Kind
            ]
            return Keys(write, read)

    return asyncio.run(work())


class Asked:
    """A server, and where it is asked."""

    def __init__(self, database_url: str, server: Server, url: str, keys: dict[str, Keys]) -> None:
        self.database_url = database_url
        self.server = server
        self.url = url
        self.keys = keys

    def get(self, path: str, app: str = "one", **headers: str) -> requests.Response:
        """Ask with the key of an app; header names have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with_key = {"X-API-Key": self.keys[app].read} | named
        return requests.get(f"{self.url}{path}", headers=with_key, timeout=TIMEOUT_S)

    def open(self, path: str) -> requests.Response:
        """Ask, and leave the answer to be read piece by piece."""
        key = {"X-API-Key": self.keys["one"].read}
        return requests.get(f"{self.url}{path}", headers=key, timeout=TIMEOUT_S, stream=True)

    def ask(self, path: str, app: str = "one") -> Any:  # noqa: ANN401 - any JSON value
        """Return the answer, without what was asked for too often."""
        answer = self.get(path, app)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def refused(self, path: str, status: int, code: str, **headers: str) -> str:
        """Assert that it is refused so, in the one shape; return the message."""
        answer = self.get(path, **headers)
        assert answer.status_code == status, answer.text
        body = answer.json()
        assert body["status"] == "error"
        assert body["error"]["code"] == code
        return str(body["error"]["message"])

    def revoked_key(self) -> str:
        """Return a key that was used and then revoked."""
        key = make_keys(self.database_url, "one").read
        assert self.get("/v1/events", X_API_Key=key).status_code == 200

        async def work() -> None:
            async with make_postgres(self.database_url).session() as connection:
                await api_keys.revoke(connection, key)

        asyncio.run(work())
        wait_for(lambda: self.get("/v1/events", X_API_Key=key).status_code != 200)
        return key

    def add_app(self, name: str) -> None:
        """Make one more app, and wait until its keys are known."""
        self.keys[name] = make_keys(self.database_url, name)
        headers = {"X-API-Key": self.keys[name].write}
        url = f"{self.server.url}/events"
        wait_for(lambda: requests.post(url, headers=headers, timeout=TIMEOUT_S).status_code != 401)
        wait_for(lambda: self.get("/v1/events?limit=1", name).status_code == 200)

    def send(self, *events: Mapping[str, object], app: str = "one") -> list[str]:
        """Send events; return their ids."""
        answer = requests.post(
            f"{self.server.url}/events",
            json=[*events],
            headers={"X-API-Key": self.keys[app].write},
            timeout=TIMEOUT_S,
        )
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["data"]]


@contextmanager
def asked_server(url: str, path: Path, **settings: object) -> Iterator[Asked]:
    """Run a server whose archive is in a directory, and wait until it answers."""
    keys = {app: make_keys(url, app) for app in ("one", "two")}
    wanted = {
        "archive.enabled": "true",
        "database.connect_timeout_s": 20,  # of a machine that has much else to do
        "archive.path": path,
        "archive.interval_s": 1,
        "dashboard.enabled": "true",
        "dashboard.port": 0,
        "dashboard.questions_per_minute_max": 100_000,
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    with running_server(("--database-url", url), keys["one"].write, wanted) as server:
        asked = Asked(url, server, server.questions_url, keys)
        wait_for(lambda: asked.get("/v1/events?limit=1").status_code == 200, TIMEOUT_S)
        yield asked
