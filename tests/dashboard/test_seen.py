"""Sessions that were seen of late: none is good for longer than it should be."""

from datetime import UTC, datetime

import pytest

from ingest.dashboard import seen
from ingest.dashboard.seen import LASTS_S, Seen
from ingest.store.accounts import Account
from ingest.store.sessions import Session


def session(account_id: int = 1) -> Session:
    """Return a session of an account."""
    return Session(
        1, datetime(2026, 1, 10, tzinfo=UTC), Account(account_id, "ada@example.com", True), {}
    )


def test_session_is_known_by_its_token_alone_and_for_an_hour() -> None:
    """A moment longer, and it is as if it had never been seen."""
    now_s = 0.0
    kept = Seen(lambda: now_s)
    kept.note("token", session())
    now_s = LASTS_S
    assert kept.of("token") == session()
    assert kept.of("another") is None
    now_s = LASTS_S + 1
    assert kept.of("token") is None


def test_session_that_is_nobody_s_any_more_is_forgotten() -> None:
    """As soon as that is known."""
    kept = Seen()
    kept.note("token", session())
    kept.note("token", None)
    assert kept.of("token") is None


def test_all_sessions_of_an_account_are_forgotten_and_no_others() -> None:
    """In every browser."""
    kept = Seen()
    for token, account_id in (("one", 1), ("two", 1), ("three", 2)):
        kept.note(token, session(account_id))
    kept.forget(1)
    assert [kept.of(token) for token in ("one", "two")] == [None, None]
    assert kept.of("three") == session(2)


def test_those_not_seen_for_longest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client can't make it grow."""
    monkeypatch.setattr(seen, "MAX", 2)
    kept = Seen()
    for token in ("a", "b", "a", "c"):
        kept.note(token, session())
    assert [kept.of(token) is None for token in "abc"] == [False, True, False]
