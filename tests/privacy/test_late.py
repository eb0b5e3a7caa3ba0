"""What comes late of somebody who is erased is erased as it comes; what comes anew is kept."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from tests.archive.archiving import APP, archive, ask, assert_exact, new_id, seen, store
from tests.privacy.erasing import erase, run_duty
from tests.support.postgres import fetch

EVE = "eve-7f3a"


def store_late(url: str, params: object, key: UUID | None = None) -> UUID:
    """Store an event that was received a minute before now, as a replay does."""
    event_id = new_id()
    asyncio.run(
        fetch(
            url,
            "INSERT INTO events (app_id, id, event_name, event_params, created_at, idempotency_key)"
            " VALUES ($1, $2, 'late', $3::jsonb, now() - interval '1 minute', $4)",
            APP,
            event_id,
            json.dumps(params),
            key,
        )
    )
    return event_id


def test_event_of_before_that_comes_late_never_reaches_a_file(url: str, path: Path) -> None:
    """Those of others, and what she does from now on, are kept; and her links are not."""
    store(url, [{"user_id": EVE}])
    archive(url, path)
    done = erase(url, path, EVE)
    key = new_id()
    store_late(url, {"$user_id": EVE, "$anonymous_id": "anon-19c"}, key)
    asyncio.run(
        fetch(
            url,
            "INSERT INTO idempotency_keys (app_id, key, event_id, created_at)"
            " SELECT app_id, idempotency_key, id, created_at FROM events"
            " WHERE idempotency_key IS NOT NULL",
        )
    )
    kept = [
        store_late(url, {"user_id": "ada"}),
        *store(url, [{"user_id": EVE, "n": "anew"}]),
    ]
    archive(url, path)
    assert_exact(url, path)
    assert sorted(seen(url, path)) == sorted(map(str, kept))
    assert ask(url, "SELECT events, keys FROM erasures WHERE id = $1", done.id) == [(2, 1)]
    assert ask(url, "SELECT FROM person_links") == ask(url, "SELECT FROM idempotency_keys") == []
    assert len(ask(url, "SELECT FROM events")) == 2


def test_late_events_are_known_for_thirty_days(url: str, path: Path) -> None:
    """Then nobody looks for them any more."""
    store(url, [{"user_id": EVE}])
    archive(url, path)
    erase(url, path, EVE)
    long_ago = timedelta(days=31)
    asyncio.run(fetch(url, "UPDATE erasures SET done_at = done_at - $1::interval", long_ago))
    store_late(url, {"user_id": EVE})
    archive(url, path)
    assert len(seen(url, path)) == 1


def test_event_that_is_refused_late_is_dropped(url: str, path: Path) -> None:
    """By the SHA-256 of the id, as nothing else is known of it any more."""
    store(url, [{"user_id": EVE}])
    archive(url, path)
    erase(url, path, EVE)
    rows = [(json.dumps({"user_id": each}), new_id()) for each in (EVE, "ada")]
    for params, event_id in rows:
        asyncio.run(
            fetch(
                url,
                "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at,"
                " sqlstate, message) VALUES (1, $1, 'r', $2, now() - interval '1 minute', '', '')",
                event_id,
                params,
            )
        )

    run_duty(url, path, "SELECT FROM rejected_events WHERE event_params LIKE '%eve%'")
    assert ask(url, "SELECT id FROM rejected_events") == [(rows[1][1],)]
    assert ask(url, "SELECT rejected FROM erasures") == [(1,)]
