"""Health: down on the first report of an outage, up again when a batch could be stored again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingest.store import health
from ingest.store.cluster import Cluster
from ingest.store.failures import Outage, Unavailable
from ingest.store.health import Health
from ingest.store.postgres import Postgres
from tests.store.events import alter_database, make_link, terminate_backends, until
from tests.support.postgres import fetch, kill, make_postgres, pause, resume

HUNG = Unavailable("no answer in time", stored=None, outage=Outage.AWAY)


@pytest.fixture(autouse=True)
def probe_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe twenty times as often as in production."""
    monkeypatch.setattr(health, "_INTERVAL_S", 0.05)


@asynccontextmanager
async def watched(postgres: Postgres) -> AsyncIterator[Health]:
    """Yield the health of a database while it is watched."""
    link = make_link(postgres)
    found = Health(link)
    watching = asyncio.create_task(found.run())
    try:
        yield found
        assert not watching.done(), "watching ended"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await link.close()


def test_report_of_an_outage_is_known_at_once(postgres: Postgres) -> None:
    """The next batch is turned away without asking Postgres, and nothing of it was stored."""
    found = Health(make_link(postgres))
    found.check()
    found.report(HUNG)
    assert not found.is_up
    assert found.reason == HUNG.reason
    with pytest.raises(Unavailable) as failed:
        found.check()
    assert (failed.value.stored, failed.value.outage) == (False, Outage.AWAY)


@pytest.mark.parametrize("turns", range(6))
async def test_stop_that_comes_with_a_report_ends_it(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """However many turns of the loop lie between the two: Postgres often goes away with us."""
    monkeypatch.setattr(health, "_INTERVAL_S", 60.0)
    link = make_link(postgres)
    found = Health(link)
    watching = asyncio.create_task(found.run())
    await asyncio.sleep(0.01)
    found.report(HUNG)
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    done, _ = await asyncio.wait([watching], timeout=2)
    await link.close()
    assert done
    assert watching.cancelled()


async def test_lost_connection_is_put_right_by_the_probe_that_follows_at_once(
    postgres: Postgres,
) -> None:
    """Others spool meanwhile instead of waiting for a connection that may never come."""
    async with watched(postgres) as found:
        await asyncio.sleep(0.01)
        found.report(Unavailable("ended", stored=None, outage=Outage.CONNECTION_LOST))
        with pytest.raises(Unavailable):
            found.check()
        await until(lambda: found.is_up, 0.5)


async def test_outage_that_is_over_ends_within_a_second(postgres: Postgres) -> None:
    """A report about a Postgres that works is put right by the first probe."""
    async with watched(postgres) as found:
        found.report(HUNG)
        assert not found.is_up
        await until(lambda: found.is_up, 1.0)
        found.check()
        assert found.reason == ""


async def test_sessions_ended_by_an_administrator_are_no_outage(
    postgres: Postgres, database_url: str
) -> None:
    """The probe's own lost connection is tried again before it counts."""
    downs = []
    async with watched(postgres) as found:
        for _ in range(5):
            await asyncio.sleep(0.1)
            await terminate_backends(database_url)
            downs.append(found.is_up)
    assert all(downs)


@pytest.mark.parametrize(
    ("setting", "sqlstate"),
    [
        ("SET role TO pg_read_all_data", "42501"),
        ("SET default_transaction_read_only TO on", "25006"),
    ],
    ids=["no permission", "read-only"],
)
async def test_probe_needs_what_a_batch_needs_of_the_database(
    own_url: str, setting: str, sqlstate: str
) -> None:
    """A Postgres that takes connections but no events is away, until that is mended."""
    await alter_database(own_url, setting)
    async with watched(make_postgres(own_url)) as found:
        await until(lambda: not found.is_up)
        assert sqlstate in found.reason
        await alter_database(own_url, "RESET ALL")
        await until(lambda: found.is_up)


async def test_probe_needs_the_table(own_url: str) -> None:
    """Also on a connection that worked before."""
    async with watched(make_postgres(own_url)) as found:
        found.report(HUNG)
        await until(lambda: found.is_up)
        await fetch(own_url, "ALTER TABLE events RENAME TO moved")
        await until(lambda: not found.is_up)
        assert "42P01" in found.reason
        await fetch(own_url, "ALTER TABLE moved RENAME TO events")
        await until(lambda: found.is_up)


async def test_postgres_that_is_killed_or_hangs_is_noticed_and_so_is_its_return(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """Without any event being sent."""
    postgres = make_postgres(harmed_url, commit_timeout_s=0.3)
    async with watched(postgres) as found:
        await asyncio.to_thread(kill, own_cluster)
        await until(lambda: not found.is_up)
        await asyncio.to_thread(own_cluster.start)
        await until(lambda: found.is_up)
        await asyncio.to_thread(pause, own_cluster)
        await until(lambda: not found.is_up)
        assert found.reason == "no answer in time"
        await asyncio.to_thread(resume, own_cluster)
        await until(lambda: found.is_up)


async def test_trigger_of_a_whole_statement_is_an_outage_and_ends_nothing(own_url: str) -> None:
    """Even an empty COPY meets it, whatever its SQLSTATE; once it is gone all is well."""
    rule = (
        "CREATE FUNCTION test_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE 'no' USING ERRCODE = '22003'; END $$;"
        " CREATE TRIGGER test_rule BEFORE INSERT ON events FOR EACH STATEMENT"
        " EXECUTE FUNCTION test_rule()"
    )
    await fetch(own_url, f"DO $do$ BEGIN EXECUTE $script${rule}$script$; END $do$")
    async with watched(make_postgres(own_url)) as found:
        await until(lambda: not found.is_up, 10.0)
        assert "22003" in found.reason
        assert not found.row_alarm.reason
        await fetch(own_url, "DROP TRIGGER test_rule ON events")
        await until(lambda: found.is_up, 10.0)
    assert not found.row_alarm.reason  # it was an outage for all, and told as one


async def test_what_waits_meanwhile_does_not_hide_what_failed() -> None:
    """Batches that are not even sent report it as well, with all that is known."""
    failing = Unavailable(
        "a permission is missing, SQLSTATE 42501",
        stored=False,
        outage=Outage.FAILING,
        sqlstate="42501",
        text="permission denied for table events",
    )
    found = Health(make_link(make_postgres("postgresql://u@127.0.0.1:1/d")))
    found.report(failing)
    for _ in range(2):
        with pytest.raises(Unavailable) as failed:
            found.check()
        found.report(failed.value)
    assert found.state == "failing"
    assert found.reason.endswith("SQLSTATE 42501: permission denied for table events")
