"""No tenant sees another's: whatever is asked, the answer is of the key's own app."""

import pytest

from tests.api.asked import Asked

SECRET = "only-two"
MARKED = {"event_name": f"{SECRET}-name", "event_params": {"user_id": SECRET, "plan": SECRET}}


@pytest.fixture(scope="module")
def marked(asked: Asked) -> str:
    """The id of an event of the other app."""
    asked.send({"event_name": "a", "event_params": {"user_id": "x", "plan": "y"}})
    (event_id,) = asked.send(MARKED, app="two")
    return event_id


@pytest.mark.parametrize(
    "path",
    [
        "/v1/names",
        "/v1/trends?breakdown=params.plan",
        "/v1/trends?breakdown=name",
        "/v1/funnel?step=a&step=a&breakdown=params.plan",
        "/v1/retention",
        "/v1/events",
        f"/v1/people/{SECRET}/events",
        "/v1/export",
        "/v1/export?format=csv",
    ],
)
def test_every_route_answers_of_the_keys_own_app_alone(
    asked: Asked, marked: str, path: str
) -> None:
    """Asked first by whose it is, so that a cache has it."""
    own, others = asked.get(path, "two").text, asked.get(path, "one").text
    assert "error" not in own[:20]
    assert "error" not in others[:20]
    hidden = others.partition('"data":')[2] if path.startswith("/v1/people") else others
    assert SECRET not in hidden
    assert marked not in hidden


def test_event_of_another_app_is_no_place_to_go_on_from(asked: Asked, marked: str) -> None:
    """It is as if there were none."""
    asked.refused(f"/v1/export?after={marked}", 400, "invalid_parameter")


def test_figures_are_of_the_keys_own_app(asked: Asked, marked: str) -> None:
    """Two apps that ask one question at one moment are each told of their own events."""
    query = f"/v1/trends?event={MARKED['event_name']}"
    assert marked
    totals = [asked.ask(query, app)["series"][0]["total"] for app in ("one", "two")]
    assert totals == [0, 1]
