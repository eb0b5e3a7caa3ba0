"""Concurrent clients that keep a history: what each request was answered with."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp


class Target(Protocol):
    """A server, or what stands in front of some."""

    url: str
    key: str
    process: subprocess.Popen[bytes]


@dataclass
class History:
    """What clients were told: all statuses; of every 200 and 202 the id and what was sent."""

    sent: dict[str, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    """Requests that got no answer."""

    def take(self, status: int, body: bytes, number: int) -> None:
        """Note an answer to the event that carried `number`."""
        self.statuses[status] += 1
        if not body.startswith(b"{"):
            self.codes["not an answer of the server's"] += 1
            return
        answer = json.loads(body)
        if status in {200, 202}:
            (row,) = answer["data"]
            assert row["event_params"]["n"] == number, "an answer went to another request"
            assert row["id"] not in self.sent, "an id was given twice"
            self.sent[row["id"]] = number
        else:
            self.codes[answer["error"]["code"]] += 1


async def drive(
    server: Target,
    connections: int,
    stop: asyncio.Event,
    pause_s: float = 0.0,
    headers_of: Callable[[int], Mapping[str, str]] = lambda _: {},
) -> History:
    """Post numbered events on so many connections, each waiting for its answer, until `stop`.

    Without a pause behind each answer it takes all the CPU there is. `headers_of` says which
    further headers an event of a number has.
    """
    history = History()
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def work(number: int) -> None:
            while not stop.is_set():
                number += 1
                try:
                    await _post(session, server, history, number, headers_of(number))
                except aiohttp.ClientError:
                    history.broken += 1
                    if stop.is_set() or server.process.poll() is not None:
                        return
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(work(who * 10_000_000) for who in range(connections)))
    return history


async def _post(
    session: aiohttp.ClientSession,
    server: Target,
    history: History,
    number: int,
    headers: Mapping[str, str],
) -> None:
    event = {"event_name": "load", "event_params": {"n": number}}
    async with session.post(
        f"{server.url}/event", json=event, headers={"X-API-Key": server.key, **headers}
    ) as answer:
        history.take(answer.status, await answer.read(), number)
