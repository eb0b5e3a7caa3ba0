"""The probe goes over links that others write through, and is in nobody's way."""

import asyncio

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.store.failures import Outage, Unavailable
from ingest.store.health import Health
from ingest.store.idle_link import IdleLink
from ingest.store.link import CopyLink
from tests.delivery.rules import script, trigger
from tests.store.events import copy, make_event, make_link, stored_ids, until
from tests.support.postgres import fetch, make_postgres

SLOW = trigger("PERFORM pg_sleep(2);")


async def begin_slow(link: CopyLink, url: str) -> "asyncio.Task[None]":
    """Begin a COPY that takes 2 s, by a rule for rows."""
    await script(url, SLOW)
    task = asyncio.create_task(copy(link, make_event(name=b"wrong")))
    await until(lambda: link.is_busy)
    return task


async def test_probe_goes_over_a_link_that_is_idle(own_url: str) -> None:
    """It need not wait for a COPY that takes long."""
    postgres = make_postgres(own_url)
    links = [CopyLink(postgres, EVENTS) for _ in range(2)]
    slow = await begin_slow(links[0], own_url)
    for _ in range(3):
        await IdleLink(links).probe()
    assert not slow.done()
    assert postgres.open_connections == 2
    await slow
    for link in links:
        await link.close()


async def test_probe_of_busy_links_comes_behind_what_is_on_its_way(own_url: str) -> None:
    """And harms it in no way."""
    link = make_link(make_postgres(own_url))
    slow = await begin_slow(link, own_url)
    await IdleLink([link]).probe()
    assert slow.done()
    await slow
    await link.close()


async def test_probes_and_copies_at_once_disturb_each_other_in_nothing(
    own_url: str,
) -> None:
    """Over one connection."""
    postgres = make_postgres(own_url)
    link = CopyLink(postgres, EVENTS)
    events = [make_event() for _ in range(100)]
    probe = IdleLink([link])
    await asyncio.gather(*(each for event in events for each in (copy(link, event), probe.probe())))
    assert await stored_ids(own_url) == {event.id for event in events}
    assert postgres.open_connections == 1
    await link.close()


async def test_link_that_a_probe_has_lost_works_for_the_next_copy(own_url: str) -> None:
    """What failed is the connection, not who writes through it."""
    link = make_link(make_postgres(own_url))
    await fetch(own_url, "ALTER TABLE events RENAME TO moved")
    with pytest.raises(Unavailable):
        await IdleLink([link]).probe()
    await fetch(own_url, "ALTER TABLE moved RENAME TO events")
    event = make_event()
    await copy(link, event)
    assert event.id in await stored_ids(own_url)
    await link.close()


async def test_recovery_is_noticed_though_a_copy_hangs(own_url: str) -> None:
    """A report of an outage is put right at once, over another link."""
    postgres = make_postgres(own_url)
    links = [CopyLink(postgres, EVENTS) for _ in range(2)]
    slow = await begin_slow(links[0], own_url)
    health = Health(IdleLink(links))
    watching = asyncio.create_task(health.run())
    await asyncio.sleep(0)
    health.report(Unavailable("no answer", stored=None, outage=Outage.AWAY))
    await until(lambda: health.is_up, 1.5)
    assert not slow.done()
    watching.cancel()
    await asyncio.gather(slow, watching, return_exceptions=True)
    for link in links:
        await link.close()
