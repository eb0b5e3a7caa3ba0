"""`nonito retention`: what goes when by a configuration, and having it go."""

import asyncio

from ingest.store.horizons import GRACE
from tests.store import retained
from tests.support.command import Nonito, complaint, succeed
from tests.support.postgres import fetch


def test_what_would_go_is_shown_and_nothing_goes(nonito: Nonito, empty_url: str) -> None:
    """By the configuration that is given, whatever servers have said so far."""
    at = ("--database-url", empty_url, "retention")
    shown = succeed(nonito(*at))
    assert "all others  all" in shown
    assert "events_" not in shown
    name = asyncio.run(retained.make_partition(empty_url, 40))
    asyncio.run(retained.store(empty_url, [40, 1]))
    asyncio.run(fetch(empty_url, "INSERT INTO apps (name, retain_days) VALUES ('shop', 0)"))
    settings = {"events.retain_days": 30, "archive.retain_days": 0}
    lines = succeed(nonito(*at, settings=settings)).splitlines()
    assert lines[1].split()[:4] == ["all", "others", "30", "days"]
    assert lines[2].split() == ["shop", "all", "all", "-", "-"]
    assert any(line.startswith(name) and "never: shop keeps all" in line for line in lines)
    asyncio.run(fetch(empty_url, "UPDATE apps SET retain_days = 60"))
    lines = succeed(nonito(*at, settings=settings)).splitlines()
    goes = f"{retained.days_ago(40 - 1 - 60):%Y-%m-%d}"
    assert any(line.startswith(name) and line.endswith(goes) for line in lines)
    assert asyncio.run(retained.ages(empty_url)) == [40, 1]
    assert asyncio.run(fetch(empty_url, "SELECT FROM retention")) == []


def test_what_is_due_goes_at_once_but_for_what_is_news(nonito: Nonito, empty_url: str) -> None:
    """Whoever has made a mistake has time to take it back here as well."""
    at = ("--database-url", empty_url, "retention", "run", "--yes")
    settings = {"events.retain_days": 30, "archive.enabled": False}
    succeed(nonito(*at))
    asyncio.run(fetch(empty_url, "INSERT INTO apps (name) VALUES ('shop')"))
    asyncio.run(retained.store(empty_url, [40, 1]))
    assert "about 0 events" in nonito(*at, settings=settings).stderr
    shown = nonito(*at[:3], settings=settings)
    assert "that begins at" in shown.stderr
    asyncio.run(fetch(empty_url, "UPDATE retention SET announced_at = now() - $1::interval", GRACE))
    assert "that begins at" not in nonito(*at[:3], settings=settings).stderr
    lesser = settings | {"events.retain_days": 20}  # which no server has announced
    assert "that begins at" in nonito(*at[:3], settings=lesser).stderr
    assert "about 1 events" in nonito(*at, settings=settings).stderr
    assert asyncio.run(retained.ages(empty_url)) == [1]


def test_settings_that_are_none_are_one_line(nonito: Nonito, empty_url: str) -> None:
    """They name the key."""
    at = ("--database-url", empty_url, "retention")
    for key, value in (("events.retain_days", -1), ("archive.retain_days", -2)):
        assert key in complaint(nonito(*at, settings={key: value}))
