"""The `protocols` command: all is posted as its clients post it, and every event is a row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from bench.cli import command
from bench.costs import posts
from bench.costs.posts import Kind
from bench.costs.protocols import GROWTH, RATIO, Costs, ProtocolsResult
from bench.errors import BenchError
from tests.sdks.recorded import Recorded, recorded
from tests.support.postgres import meddle
from tests.support.server import ROOT

VOID = 3
KEY = "nk_some"
ORDER = "Order Completed"


def protocols(*arguments: str) -> Result:
    """Run `python -m bench protocols`, very short."""
    options = ("--rounds", "2", "--documents", "2", "--connections", "2")
    return CliRunner().invoke(command, ["protocols", *options, *arguments])


def measured(*ratios: float, growth: float = 1.0, void: str = "") -> ProtocolsResult:
    """Return what rounds with these ratios would have found."""
    costs: Costs = {kind.name: [1.0] * len(ratios) for kind in posts.KINDS}
    before = costs | {posts.PLAIN.name: [1 / growth] * len(ratios)}
    now = costs | {posts.SEGMENT.name: list(ratios)}
    return ProtocolsResult(3, 2, {}, now, before, [void] if void else [])


def recorded_batch(name: str, kind: Kind) -> tuple[Recorded, dict[str, Any], dict[str, Any]]:
    """Return the first batch that an SDK sent, its body, and an order in it."""
    sent = next(each for each in recorded(name, KEY) if each.path == kind.path)
    body = msgspec.json.decode(sent.body.replace(b"NaN", b"0").replace(b"Infinity", b"0"))
    return sent, body, next(each for each in body["batch"] if each.get("event") == ORDER)


def test_every_kind_is_measured_and_so_is_another_checkout(here: str, tmp_path: Path) -> None:
    """Figures on the screen and in JSON, one a round for each kind and each server."""
    assert here
    path = tmp_path / "protocols.json"
    ran = protocols("--before", str(ROOT), "--json", str(path))
    assert ran.exit_code == 0, ran.output
    assert "segment / events-with-ids: " in ran.output
    assert "events / before: " in ran.output
    found = json.loads(path.read_bytes())
    assert found["void"] == []
    for costs in (found["us_per_event"], found["us_per_event_before"]):
        assert list(costs) == [kind.name for kind in posts.KINDS]
        assert all(len(each) == 2 and min(each) > 0 for each in costs.values())
    assert found["ratios"][posts.WITH_IDS.name] == 1
    assert found["ratios"][posts.SEGMENT.name] > 0


def test_run_whose_rows_do_not_add_up_is_void(here: str) -> None:
    """A database that loses a row of each commit: exit code 3, and no verdict."""
    meddle(here, "DELETE FROM events WHERE id = (SELECT id FROM inserted LIMIT 1)")
    ran = protocols("--rounds", "1")
    assert ran.exit_code == VOID, ran.output
    for kind in posts.KINDS:
        assert f"VOID {kind.name}: 200 sent, " in ran.output
    assert "passed" not in ran.output
    assert "missed" not in ran.output


def test_run_whose_rows_are_others_is_void(here: str) -> None:
    """As many rows as events are not enough: they have to say what was sent."""
    meddle(here, "UPDATE events SET event_params = '{}', timestamp = NULL")
    ran = protocols("--rounds", "1")
    assert ran.exit_code == VOID, ran.output
    assert "VOID events: 200 rows are not what was sent" in ran.output
    assert "VOID segment: 0 of 200 rows say when they happened" in ran.output


def test_other_checkout_is_the_one_that_is_named(here: str, tmp_path: Path) -> None:
    """Its own server is started, not this one a second time."""
    assert here
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "__main__.py").write_text('raise SystemExit("another version")')
    (tmp_path / "ingest" / "__init__.py").touch()
    ran = protocols("--before", str(tmp_path))
    assert isinstance(ran.exception, BenchError)
    assert "another version" in str(ran.exception)


def test_verdict_is_of_the_median_round() -> None:
    """One bad round does not decide, and a void run never passes."""
    found = measured(1.0, 1.2, 9.0, growth=1.01)
    assert found.ratio == 1.2
    assert found.growth == pytest.approx(1.01)
    assert [is_reached for *_, is_reached in found.reached] == [True, True]
    missed = measured(1.0, RATIO.value + 0.01, 9.0, growth=GROWTH.value + 0.01)
    assert [is_reached for *_, is_reached in missed.reached] == [False, False]
    assert not any(is_reached for *_, is_reached in measured(1.0, void="lost").reached)


def test_without_another_checkout_nothing_is_held_to_it() -> None:
    """The one ratio is left."""
    alone = msgspec.structs.replace(measured(1.0), us_per_event_before={})
    assert alone.growth is None
    assert len(alone.reached) == 1


@pytest.mark.parametrize(
    ("recording", "kind", "make"),
    [
        ("py-segment", posts.SEGMENT, posts.segment_event),
        ("py-posthog", posts.POSTHOG, posts.posthog_event),
    ],
)
def test_document_has_the_shape_that_the_sdk_sends(
    recording: str, kind: Kind, make: Callable[[], dict[str, Any]]
) -> None:
    """Document and event have the members that were recorded, and the key is where it was."""
    sent, body, order = recorded_batch(recording, kind)
    document = msgspec.json.decode(kind.document(KEY))
    assert document.keys() == body.keys()
    assert document["batch"][0].keys() == make().keys() == order.keys()
    assert document["batch"][0].get("context") == order.get("context")
    headers = {name.lower(): value for name, value in kind.headers(KEY).items()}
    assert headers.get("authorization") == sent.headers.get("authorization")
    for name, value in body.items():
        assert (document[name] == KEY) == (value == KEY)


@pytest.mark.parametrize("kind", posts.KINDS, ids=lambda kind: kind.name)
def test_every_document_has_a_hundred_events_of_its_own(kind: Kind) -> None:
    """Whatever names an event names it alone; plain ones are all alike."""
    documents = [msgspec.json.decode(kind.document(KEY)) for _ in range(2)]
    events = [
        each for one in documents for each in (one if isinstance(one, list) else one["batch"])
    ]
    assert len(events) == 2 * posts.EVENTS
    ids = [each.get("id") or each.get("messageId") or each.get("uuid") for each in events]
    assert len(set(ids)) == (1 if kind is posts.PLAIN else len(events))
