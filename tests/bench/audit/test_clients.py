"""The audit's clients: what they send is in the history first, and so is what came of it."""

import asyncio
import re
from pathlib import Path
from random import Random

from bench.audit.clients import Client, Traffic
from bench.audit.history import LOST, read
from bench.audit.recorder import Recorder
from bench.audit.workload import Workload
from tests.bench.fakes import answering

WORKLOAD = Workload("run", 1)
SENT = re.compile(rb"^(?:sent|again)\t", re.MULTILINE)


def test_nothing_is_sent_before_the_history_has_it(tmp_path: Path) -> None:
    """A server that looks into the history at each request finds it there."""
    recorder = Recorder(tmp_path / "history")
    missing = []

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if len(SENT.findall(recorder.path.read_bytes())) < number + 1:
            missing.append(number)
        writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}")

    with answering(answer) as endpoint:
        asyncio.run(_drive(endpoint.port, recorder, seconds=0.3))
    history = read(recorder.path)
    assert len(history.records) > 20
    assert not missing
    assert len(history.mixed) + sum(each.code == LOST for each in history.records.values()) >= 20


def test_lost_connection_leaves_the_fate_open(tmp_path: Path) -> None:
    """What a dying server did with the event, nobody knows."""
    recorder = Recorder(tmp_path / "history")

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    with answering(answer) as endpoint:
        asyncio.run(_drive(endpoint.port, recorder, seconds=0.3))
    history = read(recorder.path)
    assert len(history.records) > 5
    assert all(each.is_settled and each.code == LOST for each in history.records.values())


async def _drive(port: int, recorder: Recorder, seconds: float) -> None:
    """Let a plain client and a pipelining one loose."""
    traffic = Traffic([port], ["key", "other"], WORKLOAD, recorder)
    clients = [asyncio.create_task(Client(traffic, n, Random(n)).run()) for n in (0, 1)]
    await asyncio.sleep(seconds)
    traffic.is_stopping = True
    await asyncio.gather(*clients)
