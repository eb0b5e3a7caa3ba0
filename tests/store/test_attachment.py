"""Attaching a partition: what moves, and what is rather left undone."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from ingest.events import copy_format
from ingest.store import attachment, migrations
from ingest.store.failures import RowRefused
from ingest.store.partitions import Partitions
from ingest.store.periods import Range, name_of, period_of
from tests.store.events import copy, make_event, make_link
from tests.store.strays import (
    copy_of,
    count_strays,
    day,
    fill,
    homes,
    make_event_of,
    ms,
    of_app,
)
from tests.support.postgres import fetch, make_postgres
from tests.support.rows import tail

JANUARY = Range(day("2024-01-01"), day("2024-02-01"))
PROOFS = "SELECT conname FROM pg_constraint WHERE conname LIKE 'nonito_proof_%'"
LEFT_PROOF = """
    ALTER TABLE events_default ADD CONSTRAINT nonito_proof_events_20240101_20240131
    CHECK (NOT (id >= '018cc251-f400-0000-0000-000000000000')) NOT VALID
"""


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """A migrated database with partitions of this month and the next."""
    asyncio.run(migrations.migrate(make_postgres(empty_url)))
    asyncio.run(make_partitions(empty_url).ensure())
    return empty_url


def make_partitions(url: str, ahead: int = 1) -> Partitions:
    """Return what one server knows and makes."""
    return Partitions(make_postgres(url), "month", ahead)


async def test_strays_move_as_they_are(bare_url: str) -> None:
    """Every column of theirs, and only those of the partition."""
    now = datetime.now(UTC)
    stray = make_event_of(day("2024-01-15"))
    key = uuid.uuid4()
    end = tail(1, 2, key.bytes)
    full = copy_format.row(copy_format.row_head(7), stray.id.bytes, b"full", b'{"a":[1.50]}', end)
    link = make_link(make_postgres(bare_url))
    await link.copy(copy_format.document([full]), 1)
    await copy_of(link, "2023-12-31", "2024-02-01")
    await link.close()
    before = await fetch(bare_url, "SELECT *, event_params::text FROM events ORDER BY id")
    await make_partitions(bare_url).make_for(of_app([ms("2024-01-15")]))
    after = await fetch(bare_url, "SELECT *, event_params::text FROM events ORDER BY id")
    assert after == before
    assert [dict(row)["idempotency_key"] for row in after if row["app_id"] == 7] == [key]
    assert after[0]["created_at"] <= now + timedelta(minutes=1)
    lying = await homes(bare_url)
    assert [id_ for id_, home in lying.items() if home == name_of(JANUARY)] == [stray.id]


@pytest.mark.not_on_citus("empty shards have 8192 bytes each")
async def test_default_partition_that_is_too_large_is_left_alone(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No partition of the past is made, which is said once; those ahead are, by a proof."""
    monkeypatch.setattr(attachment, "DEFAULT_BYTES_MAX", 8192)
    await fill(bare_url, "2024-01-10", 1_000)
    some = make_partitions(bare_url, ahead=3)
    with capture_logs() as logs:
        await some.make_for(of_app([ms("2024-01-10"), ms("2023-01-10")]))
        await some.gather_strays()
        await some.ensure()
    assert [entry["event"] for entry in logs] == [
        "events stay in events_default",
        "partition made",
        "partition made",
    ]
    assert await fetch(bare_url, PROOFS) == []
    assert await count_strays(bare_url) == 1_000


async def test_partition_of_now_is_made_beside_a_large_default_one(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its strays move, too: otherwise all that comes in would be one."""
    monkeypatch.setattr(attachment, "DEFAULT_BYTES_MAX", 8192)
    await fill(bare_url, "2024-01-10", 1_000)
    name = name_of(period_of(datetime.now(UTC), "month"))
    await fetch(bare_url, f"DROP TABLE {name}")
    link, event = make_link(make_postgres(bare_url)), make_event()
    await copy(link, event)
    await make_partitions(bare_url).ensure()
    await link.close()
    assert (await homes(bare_url))[event.id] == name


async def test_proof_that_fails_is_taken_away(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default partition has a row of a month to come: it stays, and takes more of them."""
    monkeypatch.setattr(attachment, "DEFAULT_BYTES_MAX", 8192)
    ahead = period_of(period_of(datetime.now(UTC), "month").end, "month").end
    await fill(bare_url, f"{ahead:%Y-%m-%d}", 1_000)
    await make_partitions(bare_url, ahead=2).ensure()
    assert await fetch(bare_url, PROOFS) == []
    link = make_link(make_postgres(bare_url))
    await copy(link, make_event_of(ahead))
    await link.close()
    assert await count_strays(bare_url) == 1_001


@pytest.mark.not_on_citus("its COPY does not tell that a CHECK has refused a row")
async def test_proof_that_a_dead_server_left_is_taken_away(bare_url: str) -> None:
    """It refuses events that no partition holds, and no sender is told that they are bad."""
    await fetch(bare_url, LEFT_PROOF)
    link = make_link(make_postgres(bare_url))
    with pytest.raises(RowRefused) as refused:
        await copy_of(link, "2024-01-15")
    assert not refused.value.is_told
    await make_partitions(bare_url).ensure()
    assert await fetch(bare_url, PROOFS) == []
    await copy_of(link, "2024-01-15")
    await link.close()
    assert await count_strays(bare_url) == 1
