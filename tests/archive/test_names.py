"""What the archive knows of names and parameters for the menu, and what that looks into."""

from pathlib import Path

import pytest

from ingest.archive.view import Views
from ingest.insights import engine
from ingest.insights.answers import NamesAnswer
from ingest.insights.questions import Names
from tests.archive.archiving import APP, MEMORY_MAX, archive, ask, new_id, store


def test_names_of_files_are_known_without_a_look_into_them(url: str, path: Path) -> None:
    """Whatever they are called, also behind a merge; of too many names in a file they are not."""
    names = ["view", "it's", 'a "name"', "ü\\x", "view"]
    for name in [*names, *names]:
        store(url, [{}] * 3, name=name)
        archive(url, path)
    store(url, [{}], name="view")
    assert menu(url, path) == {"view": 13, "it's": 6, 'a "name"': 6, "ü\\x": 6}
    assert known_names(url, path) == {*names}
    many = [f"name {number}" for number in range(1_001)]
    ask(
        url,
        "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
        " SELECT $1, id, name, '{}', now() FROM unnest($2::uuid[], $3::text[]) AS each (id, name)",
        APP,
        [new_id() for _ in many],
        many,
    )
    archive(url, path)
    assert len(menu(url, path)) == 1_005
    assert known_names(url, path).isdisjoint(many)
    ask(url, "UPDATE archive_files SET names = NULL")  # as of a version before
    assert len(menu(url, path)) == 1_005


def known_names(url: str, path: Path) -> set[str]:
    """Return the names that files are known to hold."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    with views.view(app_id=APP) as view:
        found, _ = view.known.names()
    views.rest()
    return {each.name for each in found}


def menu(url: str, path: Path) -> dict[str, int]:
    """Return how many events each name has; equal whether files are looked into or not."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    with views.view(app_id=APP) as view:
        asked = [
            engine.answer(view.connection, view.sources, Names(), view.as_of, known)
            for known in (view.known, None)
        ]
    views.rest()
    assert asked[0] == asked[1]
    assert isinstance(asked[0], NamesAnswer)
    return {use.name: use.count for use in asked[0].names}


def test_menu_looks_into_what_has_arrived_last(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is enough of it; long parameters are no part of it, wherever they are."""
    monkeypatch.setattr("ingest.insights.menu.SAMPLE_MAX", 3)
    store(url, [{"old": 1}, {"long": "x" * 20_000}, {"old": 2}])
    archive(url, path)
    assert parameters(url, path) == {"old": 2}
    store(url, [{"new": 1}] * 2)
    assert parameters(url, path) == {"new": 2, "old": 1}
    store(url, [{"new": 1}, {"new": "x" * 20_000}])
    assert parameters(url, path) == {"new": 2}


def parameters(url: str, path: Path) -> dict[str, int]:
    """Return in how many events of three each parameter is."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    with views.view(APP) as view:
        found = engine.answer(view.connection, view.sources, Names(), view.as_of, view.known)
    views.rest()
    assert isinstance(found, NamesAnswer)
    assert found.sampled == 3
    return {each.path[1]: each.count for use in found.names for each in use.parameters}
