"""What clients can make of partitions is bounded: by app and hour, and in all."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.events import copy_format
from ingest.store import migrations, partitions
from ingest.store.partition_budget import PartitionBudget
from ingest.store.partitions import Partitions
from tests.store.events import make_link
from tests.store.merging import make, stored
from tests.store.strays import count_strays, day, make_event_of, ms, of_app, partition_names
from tests.support.postgres import fetch, make_postgres

NOTHING_LEFT = "events of other times stay in events_default: the app has used its budget"
Later = Callable[[float], None]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made at once is bounded by its number here, not by a busy machine."""
    monkeypatch.setattr(partitions, "_MAKE_S", 30.0)
    monkeypatch.setattr(partitions, "_TURN_S", 4.0)
    monkeypatch.setattr(partitions, "_BUSY_PAUSE_S", 0.0)
    monkeypatch.setattr(partitions, "_GATHER_PAUSE_S", 0.0)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Let some seconds pass, for the budget."""
    passed_s = [0.0]

    class Clock:
        def monotonic(self) -> float:
            return time.monotonic() + passed_s[0]

    monkeypatch.setattr("ingest.store.partition_budget.time", Clock())

    def wait(seconds: float) -> None:
        passed_s[0] += seconds

    return wait


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """A migrated database with partitions of today and the next day."""
    asyncio.run(migrations.migrate(make_postgres(empty_url)))
    asyncio.run(make_partitions(empty_url, 0).ensure())
    return empty_url


def make_partitions(url: str, per_hour_max: float) -> Partitions:
    """Return what one server knows and makes."""
    return Partitions(make_postgres(url), "day", 1, per_hour_max=per_hour_max)


def days(count: int, first: str = "2024-01-01") -> list[int]:
    """Return the first moment of some days in a row."""
    return [ms(first) + number * 86_400_000 for number in range(count)]


async def put_strays(url: str, first: str, count: int, app_id: int = 1) -> None:
    """Store an event of each of some days, by COPY."""
    link = make_link(make_postgres(url))
    moments = [day(first) + timedelta(days=number) for number in range(count)]
    rows = [make(app_id=app_id, event_id=make_event_of(moment).id).row for moment in moments]
    await link.copy(copy_format.document(rows), count)
    await link.close()


def test_budget_is_of_one_app_and_of_the_last_hour(later: Later) -> None:
    """What was made comes free an hour after it was made, each by itself."""
    budget = PartitionBudget(3)
    budget.spend(1, 2)
    later(1800)
    budget.spend(1, 1)
    assert (budget.payer([1, 2]), budget.payer([1]), budget.spent()) == (2, None, [1])
    later(1799)
    assert budget.payer([1]) is None
    later(2)
    assert (budget.payer([1, 2]), budget.spent()) == (1, [])
    budget.spend(1, 2)
    assert budget.payer([1]) is None


def test_budget_of_none_pays_nothing() -> None:
    """An operator who wants no partitions of the past."""
    assert PartitionBudget(0).payer([1, 2]) is None


async def test_events_beyond_the_budget_are_stored_in_the_default_partition(
    bare_url: str, later: Later
) -> None:
    """None is refused or lost, it is said once, and the next hour makes more."""
    some, link = make_partitions(bare_url, 5), make_link(make_postgres(bare_url))
    committer = Committer(link, partitions=some, merges=16)
    before = len(await partition_names(bare_url))
    sent = [
        make(event_id=make_event_of(day("2024-01-01") + timedelta(days=at)).id) for at in range(40)
    ]
    with capture_logs() as logs:
        for start in range(0, 40, 4):
            commit = Commit([each.row for each in sent[start : start + 4]])
            await committer.run(commit)
            assert commit.is_clean
    assert len(await partition_names(bare_url)) == before + 5
    assert (await stored(bare_url)).keys() == {each.id for each in sent}
    assert await count_strays(bare_url) == 35
    assert [entry["app_id"] for entry in logs if entry["event"] == NOTHING_LEFT] == [1]
    later(3601)
    await some.make_for(of_app(days(8, "2025-01-01")))
    await link.close()
    assert len(await partition_names(bare_url)) == before + 10


async def test_budget_that_one_app_has_used_is_nothing_to_another(bare_url: str) -> None:
    """Also in one batch, also for the same day: whoever has something left makes it."""
    some = make_partitions(bare_url, 2)
    await some.make_for(of_app(days(4), app_id=1))
    assert [some.covers(each) for each in days(4)] == [True, True, False, False]
    late = days(4)[2:]
    await some.make_for([*of_app(late * 9, app_id=1), (2, late[1])])
    assert [some.covers(each) for each in late] == [False, True]


async def test_partition_that_is_there_costs_nothing(bare_url: str) -> None:
    """Another server made it."""
    await make_partitions(bare_url, 4).make_for(of_app(days(4)))
    some = make_partitions(bare_url, 1)
    await some.make_for(of_app(days(4)))
    await some.make_for(of_app(days(5)))
    assert all(map(some.covers, days(5)))


async def test_strays_are_gathered_within_the_budget(bare_url: str, later: Later) -> None:
    """Or they would make up for what was not made; those of other apps are not behind them."""
    some = make_partitions(bare_url, 3)
    await some.ensure()
    before = len(await partition_names(bare_url))
    await put_strays(bare_url, "2024-01-01", 20, app_id=1)
    await put_strays(bare_url, "2023-01-01", 2, app_id=2)
    await some.gather_strays()
    await some.gather_strays()
    assert len(await partition_names(bare_url)) == before + 5
    assert await count_strays(bare_url) == 17
    later(3601)
    await some.gather_strays()
    assert len(await partition_names(bare_url)) == before + 8
    assert await count_strays(bare_url) == 14


async def test_number_of_all_partitions_is_bounded(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the budgets of apps and servers; those of now and ahead are made all the same."""
    monkeypatch.setattr(partitions, "PARTITIONS_MAX", 6)
    servers = [Partitions(make_postgres(bare_url), "day", 1) for _ in range(2)]
    with capture_logs() as logs:
        for server in servers * 2:
            await server.make_for(of_app(days(20)))
            await server.gather_strays()
    assert len(await partition_names(bare_url)) == 6
    reasons = [
        entry["reason"] for entry in logs if entry["event"] == "events stay in events_default"
    ]
    assert reasons == ["there are 6 partitions"] * 2
    await fetch(
        bare_url, f"DROP TABLE events_{datetime.now(UTC):%Y%m%d}_{datetime.now(UTC):%Y%m%d}"
    )
    await put_strays(bare_url, "2020-01-01", 1)
    ahead = Partitions(make_postgres(bare_url), "day", 9)
    await ahead.ensure()
    assert len(await partition_names(bare_url)) > 6
    assert await count_strays(bare_url) == 1
