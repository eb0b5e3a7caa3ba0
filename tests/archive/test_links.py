"""Which ids are one person's: as events say it, in archive and tail."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ingest.archive.failures import NotReady, PostgresTrouble
from ingest.archive.links import ID_BYTES_MAX
from ingest.archive.scope import Scope
from ingest.archive.view import Views
from ingest.insights.joined import Joined
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

_EVERYTHING = Scope()
_ADA = {"$user_id": "ada", "$anonymous_id": "a1"}


def people(url: str, path: Path, app_id: int = APP) -> dict[str, str]:
    """Return whose each id is that is another's, as a question sees it."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id) as view:
            if view.links is None:
                return {}
            table = Joined(view.connection, view.links).table
            return dict(view.connection.execute(f"SELECT id, person FROM {table}").fetchall())
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
        ("track", {"$user_id": "-1", "$anonymous_id": "a1"}, {}),
        ("track", {"$user_id": "a1", "$anonymous_id": "a1"}, {}),
        ("track", {"user_id": "ada", "$anonymous_id": "a1"}, {}),
        ("track", {"alias": "a1", "distinct_id": "ada"}, {}),
        ("track", {"$user_id": "ada", "$anonymous_id": "a1", "distinct_id": "m"}, {"a1": "ada"}),
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


def test_views_tell_by_a_name_whether_anything_was_said(url: str, path: Path) -> None:
    """They keep what they have read, and read what is behind it."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)

    def name(app_id: int = APP, scope: Scope = _EVERYTHING) -> str | None:
        with views.view(app_id, scope) as view:
            return view.links

    archive(url, path)
    names = [name()]
    for document in (_ADA, {"n": 1}, _ADA, {"$user_id": "bob", "$anonymous_id": "a1"}):
        store(url, [document])
        names.append(name())
    assert names[0] is None
    assert names[1] == names[2] == names[3] != names[4]
    ask(url, "UPDATE events SET timestamp = now() - interval '1 hour' WHERE event_params ? 'n'")
    ask(
        url,
        "UPDATE events SET timestamp = now() - interval '1 day'"
        " WHERE event_params ->> '$user_id' = 'bob'",
    )
    assert name() != names[4]  # as many links, of which one is earlier
    archive(url, path)
    assert name() == name()
    assert name(scope=Scope(has_people=False)) is None
    assert name(app_id=2) is None
    views.rest()


def test_event_without_a_user_field_is_of_whom_its_sdk_says(url: str, path: Path) -> None:
    """In files and in the tail, and in files that were made by another user field."""
    documents = [
        {"user_id": "u", "$user_id": "s"},
        {"$user_id": "s", "$anonymous_id": "a"},
        {"user_id": "", "$user_id": " Undefined", "$anonymous_id": "a"},
        {"$user_id": "null", "$anonymous_id": "", "$device_id": "0"},
        {"$user_id": None, "distinct_id": "d"},
        {"$profile_id": 7},
        {"$device_id": "v"},
        {"mail": "m"},
    ]
    store(url, documents)
    archive(url, path)
    store(url, documents)
    persons = "coalesce(person, '')"
    assert sorted(seen(url, path, persons)) == sorted(["u", "s", "a", "", "d", "7", "v", ""] * 2)
    ask(url, "UPDATE apps SET user_field = 'mail'")
    assert sorted(seen(url, path, persons)) == sorted(["s", "s", "a", "", "d", "7", "v", "m"] * 2)


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


def test_role_that_may_not_write_links_keeps_the_archive_that_there_is(
    own_url: str, path: Path
) -> None:
    """And is told what is to be granted."""
    store(own_url, [_ADA])
    archive(own_url, path)
    ask(own_url, "UPDATE archive_files SET has_links = false")
    before = ask(own_url, "SELECT archive_id::text FROM archive_state")
    role = "nonito_links_test"
    ask(own_url, f"CREATE ROLE {role}")
    ask(own_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    ask(own_url, f"REVOKE INSERT ON person_links FROM {role}")
    ask(own_url, f"GRANT pg_monitor TO {role}")
    try:
        with pytest.raises(PostgresTrouble, match="GRANT SELECT, INSERT, UPDATE ON person_links"):
            archive(f"{own_url}&options=-crole%3D{role}", path)
        assert ask(own_url, "SELECT archive_id::text FROM archive_state") == before
    finally:
        ask(own_url, f"DROP OWNED BY {role}")
        ask(own_url, f"DROP ROLE {role}")


def test_alias_joins_no_two_who_have_signed_in_whatever_comes_first(url: str, path: Path) -> None:
    """An alias of Segment's is of a user from the first; what it does is never taken back."""
    archive(url, path)
    store(url, [{"$user_id": "mail", "$anonymous_id": "laptop"}])
    store(url, [{"$user_id": "42", "$previous_id": "mail"}], name="$create_alias")
    apart = {"laptop": "mail"}
    assert people(url, path) == apart
    store(url, [{"$user_id": "42", "$anonymous_id": "phone"}])
    assert people(url, path) == apart | {"phone": "42"}
    store(url, [{"distinct_id": "42", "alias": "mail"}], name="$merge_dangerously")
    assert people(url, path) == dict.fromkeys(("laptop", "phone", "mail"), "42")


@pytest.mark.parametrize("is_archived", [True, False])
def test_of_merges_the_last_counts(url: str, path: Path, *, is_archived: bool) -> None:
    """Whatever is archived of them; one with itself takes it back."""
    archive(url, path)
    for person in ("wrong", "right", "wrong", "a", "wrong", "right"):
        store(url, [{"distinct_id": person, "alias": "a"}], name="$merge_dangerously")
        if is_archived:
            archive(url, path)
        assert people(url, path) == ({} if person == "a" else {"a": person})


def test_archiver_of_a_version_before_is_put_off(url: str, path: Path) -> None:
    """What it would name has no links: there would be files of both kinds for ever."""
    archive(url, path)
    with pytest.raises(asyncpg.NotNullViolationError):
        ask(
            url,
            "INSERT INTO archive_files (name, app_id, rows, at_min, at_max, mark, bytes, sha256)"
            " VALUES ('x', 1, 1, now(), now(), 1, 1, '')",
        )


def test_schema_of_a_version_before_is_said(own_url: str, path: Path) -> None:
    """As a migration may be left to later."""
    archive(own_url, path)
    ask(own_url, "DROP TABLE person_links")
    with pytest.raises(NotReady, match="nonito migrate"):
        archive_and_store(own_url, path)


def archive_and_store(url: str, path: Path) -> None:
    """Archive one event more."""
    store(url, [_ADA])
    archive(url, path)


def test_archive_made_anew_keeps_the_links(url: str, path: Path) -> None:
    """Also those of events that Postgres has no more."""
    store(url, [_ADA])
    archive(url, path)
    ask(url, "TRUNCATE events")
    store(url, [{"$user_id": "bob", "$anonymous_id": "b1"}])
    ask(url, "UPDATE archive_files SET has_links = false")
    archive(url, path)
    assert people(url, path) == {"a1": "ada", "b1": "bob"}
