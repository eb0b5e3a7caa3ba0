"""Turns: requests of an app wait for those of others, and for their own round."""

import asyncio
import time

from ingest.http.turns import Turns

FLOOD, CALM = 1, 2
REQUESTS = 300
ROUND_S = 0.004
"""What all else takes in a round of the loop: longer than turns may."""


def waits(turns: Turns, app_id: int) -> bool:
    """Whether a request has to wait for a round of the event loop."""
    taking = turns.take(app_id)
    try:
        taking.send(None)
    except StopIteration:
        return False
    taking.close()
    return True


async def test_many_requests_at_once_wait() -> None:
    """All but the first ones of a round: else one connection's requests could keep the loop."""
    turns = Turns()
    waited = [waits(turns, FLOOD) for _ in range(100)]
    assert waited == sorted(waited)
    assert 1 < waited.index(True) < 50


async def test_request_goes_before_most_of_those_that_another_app_has_sent_before() -> None:
    """Of each app one goes on in turn."""
    turns = Turns()
    went: list[int] = []

    async def work(app_id: int) -> None:
        await turns.take(app_id)
        went.append(app_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(REQUESTS):
            group.create_task(work(FLOOD))
        await asyncio.sleep(0)
        group.create_task(work(CALM))
    assert len(went) == REQUESTS + 1
    assert went.index(CALM) < REQUESTS // 4


async def test_request_that_goes_on_and_on_lets_all_others_go_first() -> None:
    """Each time."""
    turns = Turns()
    went: list[int] = []

    async def work(app_id: int, times: int) -> None:
        await turns.take(app_id)
        for _ in range(times):
            went.append(app_id)
            await turns.take_another(app_id)

    async with asyncio.TaskGroup() as group:
        group.create_task(work(FLOOD, 10))
        group.create_task(work(CALM, 10))
    assert went == [FLOOD, CALM] * 10


async def test_request_that_is_gone_costs_others_no_turn() -> None:
    """All of them go on."""
    turns = Turns()
    tasks = [asyncio.create_task(turns.take(FLOOD)) for _ in range(REQUESTS)]
    await asyncio.sleep(0)
    for task in tasks[REQUESTS // 2 :]:
        task.cancel()
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert found.count(None) == REQUESTS // 2


async def test_requests_do_not_wait_one_by_one_while_all_else_takes_long() -> None:
    """As the fast lane does with many connections: that is no reason to let fewer of them go on."""
    turns = Turns()
    rounds = 0

    def work_on_all_else() -> None:
        nonlocal rounds
        rounds += 1
        end_s = time.thread_time() + ROUND_S
        while time.thread_time() < end_s:
            pass
        if not all(task.done() for task in tasks):
            asyncio.get_running_loop().call_soon(work_on_all_else)

    tasks = [asyncio.create_task(turns.take(FLOOD)) for _ in range(REQUESTS)]
    work_on_all_else()
    await asyncio.gather(*tasks)
    assert rounds < REQUESTS // 4
