"""Passwords are hashed one at a time, whoever goes away, and so many wait at most."""

import asyncio
import statistics
import threading
import time

from ingest.dashboard import passwords
from ingest.dashboard.passwords import Passwords
from ingest.dashboard.problems import Problem


async def test_who_goes_away_lets_nobody_in_before_it_is_done() -> None:
    """What a hash takes counts until it is done: 64 MiB, for one at a time."""
    tried, free = Passwords(), threading.Event()
    at_once, most = 0, 0

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        free.wait(10)
        at_once -= 1

    asking = [asyncio.create_task(tried._in_turn(work)) for _ in range(8)]
    await asyncio.sleep(0.05)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert tried._waiting == 8
    more = [asyncio.create_task(tried._in_turn(work)) for _ in range(passwords._WAITING_MAX)]
    await asyncio.sleep(0.05)
    free.set()
    results = await asyncio.gather(*more, return_exceptions=True)
    assert most == 1
    assert sum(isinstance(each, Problem) for each in results) == 8


async def test_password_is_right_or_not() -> None:
    """Of nobody it never is, and what is no hash is of nobody."""
    tried = Passwords()
    kept = await tried.hash("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert await tried.is_right("correct horse battery", kept)
    assert not await tried.is_right("correct horse batterz", kept)
    assert not await tried.is_right("nobody's", None)
    assert not await tried.is_right("", "no hash")


async def test_unknown_account_costs_what_a_known_one_does() -> None:
    """By the processor's time, in turns: whoever measures answers learns of no account."""
    tried = Passwords()
    kept = await tried.hash("correct horse battery")
    costs_s: dict[str | None, list[float]] = {kept: [], None: []}
    for _ in range(7):
        for whose, costs in costs_s.items():
            begun_s = time.process_time()
            await tried.is_right("wrong horse battery", whose)
            costs.append(time.process_time() - begun_s)
    known_s, unknown_s = (statistics.median(each) for each in costs_s.values())
    assert 0.7 < unknown_s / known_s < 1.4


def test_password_has_a_length() -> None:
    """Neither too short to keep, nor too long to hash."""
    fit = [length for length in (0, 9, 10, 500, 501) if passwords.is_fit("x" * length)]
    assert fit == [10, 500]
