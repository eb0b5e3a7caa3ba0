"""The payloads: what is sent is what users send."""

import json
from collections import Counter
from pathlib import Path

import pytest

from bench.load import payloads
from bench.load.payloads import PayloadError

DOCUMENTED = {
    "page_view": {"page", "referrer", "user_id"},
    "button_click": {"button_id", "page", "user_id"},
    "user_signup": {"user_id", "plan", "source"},
    "purchase": {"user_id", "amount", "product_id"},
    "app_open": {"device", "version", "user_id"},
    "error": {"message", "stack", "user_id"},
}


def test_example_is_the_documented_one() -> None:
    """The button click of the API reference."""
    (example,) = payloads.load("example")
    assert json.loads(example.body) == {
        "event_name": "button_click",
        "event_params": {"user_id": "12345", "button_id": "signup_btn", "page": "/home"},
    }
    assert example.name == "button_click"
    assert json.loads(example.params) == json.loads(example.body)["event_params"]


def test_mix_has_the_six_common_events_with_their_parameters() -> None:
    """Each of the six occurs, with exactly the documented parameters."""
    found: dict[str, set[frozenset[str]]] = {}
    for payload in payloads.load("mix"):
        event = json.loads(payload.body)
        assert event == {"event_name": payload.name, "event_params": json.loads(payload.params)}
        found.setdefault(payload.name, set()).add(frozenset(event["event_params"]))
    assert found == {name: {frozenset(keys)} for name, keys in DOCUMENTED.items()}


def test_a_few_users_make_most_events_of_the_mix() -> None:
    """Zipf: of thousands of users, the top 1 % make more than a fifth of the events."""
    users = Counter(json.loads(each.params)["user_id"] for each in payloads.load("mix"))
    top = sum(count for _, count in users.most_common(len(users) // 100))
    assert len(users) > 1_000
    assert top > users.total() / 5


def test_mix_is_the_same_in_every_run() -> None:
    """Two runs compare because they send the same."""
    assert payloads.mix(100) == payloads.mix(100)


def test_file_gives_an_event_a_line(tmp_path: Path) -> None:
    """Empty lines don't matter, and absent parameters are none."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"event_name": "a", "event_params": {"n": 1}}\n\n{"event_name": "b"}\n')
    found = [(each.name, each.params) for each in payloads.load(str(path))]
    assert found == [("a", '{"n": 1}'), ("b", "{}")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"event_name": "a"}\n{"event_params": {}}', "line 2"),
        ('{"event_name": "a", "parms": {}}', "parms"),
        ("\n", "no events"),
    ],
)
def test_bad_file_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    """A line that is no event ends the command before anything is sent."""
    path = tmp_path / "events.ndjson"
    path.write_text(text)
    with pytest.raises(PayloadError, match=message):
        payloads.load(str(path))
