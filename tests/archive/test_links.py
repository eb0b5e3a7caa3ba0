"""Which ids are one person's: as events say it, in archive and tail."""

from pathlib import Path
from typing import Any

import pytest

from ingest.archive.links import ID_BYTES_MAX
from ingest.archive.scope import Scope
from ingest.archive.view import Views
from ingest.insights import joined
from tests.archive.archiving import (
    APP,
    MEMORY_MAX,
    archive,
    ask,
    assert_exact,
    files,
    seen,
    store,
)

_ADA = {"$user_id": "ada", "$anonymous_id": "a1"}


def people(url: str, path: Path, app_id: int = APP) -> dict[str, str]:
    """Return whose each id is that is another's, as a question sees it."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id) as view:
            if view.links is None:
                return {}
            joined.make(view.connection, view.links)
            return dict(view.connection.execute(f"SELECT * FROM {joined.TABLE}").fetchall())
    finally:
        views.rest()


@pytest.mark.parametrize("is_archived", [True, False])
@pytest.mark.parametrize(
    ("name", "params", "found"),
    [
        ("track", _ADA, {"a1": "ada"}),
        ("track", {"$user_id": 7, "$anonymous_id": "a1"}, {"a1": "7"}),
        ("track", {"$user_id": "ada", "$device_id": "d1"}, {"d1": "ada"}),
        ("track", {"$user_id": "ada", "$anonymous_id": None}, {}),
        ("track", {"$user_id": "", "$anonymous_id": "a1"}, {}),
        ("track", {"$user_id": "a1", "$anonymous_id": "a1"}, {}),
        ("track", {"user_id": "ada", "$anonymous_id": "a1"}, {}),
        ("track", {"alias": "a1", "distinct_id": "ada"}, {}),
        # PostHog's device is the same one after who has signed out.
        ("track", {"$user_id": "ada", "distinct_id": "ada", "$device_id": "d1"}, {}),
        ("$identify", {"distinct_id": "ada", "$anon_distinct_id": "a1"}, {"a1": "ada"}),
        ("$create_alias", {"distinct_id": "a1", "alias": "ada"}, {"ada": "a1"}),
        ("$create_alias", {"$user_id": "ada", "$previous_id": "a1"}, {"a1": "ada"}),
        (
            "$create_alias",
            {"$user_id": "ada", "$previous_id": "p", "$anonymous_id": "a1"},
            {"a1": "ada", "p": "ada"},
        ),
        ("$merge_dangerously", {"distinct_id": "ada", "alias": "bob"}, {"bob": "ada"}),
    ],
)
def test_what_says_of_two_ids_that_they_are_one_persons(
    url: str,
    path: Path,
    name: str,
    params: dict[str, Any],
    found: dict[str, str],
    *,
    is_archived: bool,
) -> None:
    """Each of the protocols, and what does not."""
    archive(url, path)
    store(url, [params], name=name)
    store(url, [{"$user_id": "eve", "$anonymous_id": "e1"}], app_id=2)
    if is_archived:
        archive(url, path)
    assert people(url, path) == found
    assert people(url, path, app_id=2) == {"e1": "eve"}


def test_ids_that_are_nobodys_join_nobody(url: str, path: Path) -> None:
    """As clients send them that know none; and those that are no ids."""
    nobody = ["null", " Undefined ", "0", "[object Object]", "x" * (ID_BYTES_MAX + 1), "ü" * 251]
    nobody += ["00000000-0000-0000-0000-000000000000"]
    store(url, [{"$user_id": "ada", "$anonymous_id": each} for each in nobody])
    store(url, [{"$user_id": each, "$anonymous_id": "a1"} for each in nobody])
    store(url, [{"$user_id": "y" * ID_BYTES_MAX, "$anonymous_id": "x" * ID_BYTES_MAX}])
    archive(url, path)
    store(url, [{"$user_id": "ada", "$anonymous_id": each} for each in nobody])
    assert people(url, path) == {"x" * ID_BYTES_MAX: "y" * ID_BYTES_MAX}


def test_the_earliest_counts_whenever_it_comes(url: str, path: Path) -> None:
    """Of two who sign in on one device, by the time that their events say."""
    store(url, [_ADA])
    archive(url, path)
    store(url, [{"$user_id": "bob", "$anonymous_id": "a1"}])
    archive(url, path)
    assert people(url, path) == {"a1": "ada"}
    yesterday = "timestamp = now() - interval '1 day' WHERE event_params ->> '$user_id' = 'eve'"
    store(url, [{"$user_id": "eve", "$anonymous_id": "a1"}])
    ask(url, f"UPDATE events SET {yesterday}")
    assert people(url, path) == {"a1": "eve"}
    archive(url, path)
    assert people(url, path) == {"a1": "eve"}


def test_link_is_kept_once_and_its_time_goes_back(url: str, path: Path) -> None:
    """However many events say it."""
    store(url, [_ADA] * 50)
    archive(url, path)
    first = ask(url, "SELECT at_us, number FROM person_links")
    store(url, [_ADA] * 50)
    archive(url, path)
    assert ask(url, "SELECT at_us, number FROM person_links") == first
    store(url, [_ADA])
    ask(url, "UPDATE events SET timestamp = now() - interval '1 day'")
    archive(url, path)
    ((at_us, number),) = ask(url, "SELECT at_us, number FROM person_links")
    assert (at_us < first[0][0], number > first[0][1]) == (True, True)


def test_what_was_written_since_is_seen_by_the_same_views(url: str, path: Path) -> None:
    """They keep what they have read, and read what is behind it."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    counts = []
    for user in ("ada", "bob", "bob"):
        store(url, [{"$user_id": user, "$anonymous_id": f"of {user}"}])
        archive(url, path)
        with views.view(APP) as view:
            counts.append(view.links_count)
    with views.view(APP, Scope(has_people=False)) as view:
        assert view.links is None
    with views.view(2) as view:
        assert view.links is None
    views.rest()
    assert counts == [1, 2, 2]


def test_event_without_a_user_field_is_of_whom_its_sdk_says(url: str, path: Path) -> None:
    """In files and in the tail, and in files that were made by another user field."""
    documents = [
        {"user_id": "u", "$user_id": "s"},
        {"$user_id": "s", "$anonymous_id": "a"},
        {"$user_id": "", "$anonymous_id": "a"},
        {"$user_id": None, "distinct_id": "d"},
        {"$profile_id": 7},
        {"$device_id": "v"},
        {"mail": "m"},
    ]
    store(url, documents)
    archive(url, path)
    store(url, documents)
    persons = "coalesce(person, '')"
    assert sorted(seen(url, path, persons)) == sorted(["u", "s", "a", "d", "7", "v", ""] * 2)
    ask(url, "UPDATE apps SET user_field = 'mail'")
    assert sorted(seen(url, path, persons)) == sorted(["s", "s", "a", "d", "7", "v", "m"] * 2)


def test_archive_of_a_version_before_is_made_anew(url: str, path: Path) -> None:
    """It knows of no links, and of no ids but the user field's."""
    store(url, [_ADA, {"$anonymous_id": "a1"}])
    archive(url, path)
    ask(url, "UPDATE archive_files SET has_links = false")  # as a version before has it
    ask(url, "TRUNCATE person_links")
    assert people(url, path) == {}
    before = files(path)
    archive(url, path)
    assert files(path) != before
    assert people(url, path) == {"a1": "ada"}
    assert sorted(seen(url, path, "person")) == ["a1", "ada"]
    assert_exact(url, path)


def test_archive_made_anew_keeps_the_links(url: str, path: Path) -> None:
    """Also those of events that Postgres has no more."""
    store(url, [_ADA])
    archive(url, path)
    ask(url, "TRUNCATE events")
    store(url, [{"$user_id": "bob", "$anonymous_id": "b1"}])
    ask(url, "UPDATE archive_files SET has_links = false")
    archive(url, path)
    assert people(url, path) == {"a1": "ada", "b1": "bob"}
