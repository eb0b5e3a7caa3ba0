"""What SDKs sent is stored as they meant it, and once, however often they send it."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sdks.conftest import Row, Stored
from tests.sdks.recorded import DIRECTORY, recorded
from tests.support.server import Server

WITHOUT_IDS = ("node-openpanel", "web-openpanel", "node-umami", "web-umami")
OF_CLOUD_EVENTS = ("py-cloudevents", "node-cloudevents")
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.ndjson"))
SUCCESS: dict[str, Any] = {"success": True, "code": 200, "status": 1, "error": None, "results": {}}
UNICODE = "Zoë 日本 🎉"
NESTED = {"a": {"b": [1, "two", None, True]}}
NOT_THERE = ("config.js", "surveys.js")


def send_all(server: Server, name: str) -> list[Any]:
    """Send what an SDK sent, and return the answers to what were events."""
    answers = []
    for request in recorded(name, server.key):
        if request.path.endswith(NOT_THERE) or "mp_fake" in str(request.body):
            continue
        answer = request.send(server)
        assert answer.status_code == 200, (request.path, answer.text)
        if request.method == "POST" and not request.path.startswith("/flags"):
            answers.append(answer.json())
    return answers


@pytest.mark.parametrize("name", [each for each in NAMES if each not in OF_CLOUD_EVENTS])
def test_all_is_accepted_and_a_resend_stores_nothing_more(
    shared_server: Server, stored: Stored, aside: Stored, name: str
) -> None:
    """Each event has a row; where the SDK has ids, that is so however often it sends."""
    before = len(stored()) + len(aside())
    answers = send_all(shared_server, name)
    assert answers
    assert all(each == SUCCESS for each in answers)
    after = len(stored()) + len(aside())
    assert after > before
    send_all(shared_server, name)
    twice = len(stored()) + len(aside())
    assert (twice - after) == (after - before if name in WITHOUT_IDS else 0)
    assert shared_server.key not in str([row["params"] for row in stored()])


def named(rows: list[Row], event_name: str, **params: object) -> Row:
    """Return the last row of a name with these parameters."""
    return [
        row
        for row in rows
        if row["event_name"] == event_name and params.items() <= row["params"].items()
    ][-1]


def library(name: str, version: str) -> dict[str, Any]:
    """Return the context of Segment's libraries for backends."""
    return {"$context": {"library": {"name": name, "version": version}}}


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("py-segment", library("analytics-python", "2.4.0")),
        ("node-segment", library("@segment/analytics-node", "3.1.0")),
        ("py-rudder", library("analytics-python", "2.1.9")),
        ("py-posthog", {"$lib": "posthog-python", "$lib_version": "7.91.1"}),
        ("node-posthog", {"$lib": "posthog-node"}),
    ],
)
def test_event_has_its_properties_and_its_time(
    shared_server: Server, stored: Stored, name: str, mark: dict[str, Any]
) -> None:
    """With every digit, and what the SDK says of it behind `$`."""
    send_all(shared_server, name)
    rows = [row for row in stored() if row["event_name"] == "Order Completed"]
    (row, *_) = [each for each in rows if mark.items() <= each["params"].items()]
    params = row["params"]
    assert (params["unicode"], params["nested"]) == (UNICODE, NESTED)
    assert (params["int"], params["float"], params["nothing"]) == (42, 19.99, None)
    assert params["list"] == ["x", {"y": 1}]
    assert params.get("$user_id", params.get("distinct_id")) == "user-1"
    assert row["timestamp"] > datetime(2026, 11, 28, 13, tzinfo=UTC)
    assert int(row["id"].hex[:12], 16) == int(row["timestamp"].timestamp() * 1000)


def test_time_of_its_own_is_kept(shared_server: Server, stored: Stored) -> None:
    """Of each SDK that can say when something happened."""
    for name in ("py-segment", "node-segment", "py-rudder", "py-amplitude", "node-amplitude"):
        send_all(shared_server, name)
    for name in ("py-posthog", "node-posthog", "web-segment", "web-posthog", "node-openpanel"):
        send_all(shared_server, name)
    moment = datetime(2026, 11, 20, 10, 30, 0, 123_000, tzinfo=UTC)
    found = Counter(row["event_name"] for row in stored() if row["timestamp"] == moment)
    assert found["With Options"] >= 3  # some of them have one id for two SDKs
    assert found["After identify"] >= 1


def test_what_is_no_track_has_names_of_its_own(shared_server: Server, stored: Stored) -> None:
    """One for each kind, whatever the SDK."""
    send_all(shared_server, "py-segment")
    rows = [
        row
        for row in stored()
        if library("analytics-python", "2.4.0").items() <= row["params"].items()
    ]
    assert named(rows, "$identify", plan="pro")["params"]["$user_id"] == "user-1"
    assert named(rows, "$pageview")["params"]["$name"] == "Pricing"
    assert named(rows, "$screen")["params"]["$name"] == "Home"
    assert named(rows, "$groupidentify", name="Example Ltd")["params"]["$group_id"] == "group-1"
    assert named(rows, "$create_alias")["params"]["$previous_id"] == "anon-1"


def test_person_s_traits_are_in_the_context_of_rudderstack(
    shared_server: Server, stored: Stored
) -> None:
    """Of an identify; those of a track are not its properties."""
    send_all(shared_server, "web-rudder")
    rows = [row for row in stored() if "RudderLabs" in str(row["params"].get("$context"))]
    assert named(rows, "$identify")["params"]["plan"] == "pro"
    assert "logins" not in named(rows, "Order Completed")["params"]
    assert named(rows, "$groupidentify")["params"]["name"] == "Example Ltd"


def test_whose_an_event_of_openpanel_is_stands_where_a_track_s_does(
    shared_server: Server, stored: Stored
) -> None:
    """And what is said of somebody beside what else is."""
    send_all(shared_server, "node-openpanel")
    rows = [row for row in stored() if "$profile_id" in row["params"]]
    person = named(rows, "$identify", email="ada@example.org")["params"]
    assert (person["$profile_id"], person["plan"], person["firstName"]) == ("user-1", "pro", "Ada")
    counted = named(rows, "$increment")["params"]
    assert counted == {"property": "logins", "value": 1, "$profile_id": "user-1"}


def test_what_can_not_be_stored_is_set_aside_with_its_reason(
    shared_server: Server, aside: Stored, stored: Stored
) -> None:
    """Others of its batch are stored; NaN and infinity are null."""
    send_all(shared_server, "py-nan")
    found = [row for row in aside() if row["event_name"] == "NaN"]
    assert len(found) == 3
    for row in found:
        assert row["message"].startswith("invalid_event_params: The event has \\ud83c alone")
        assert '"lone": "\\ud83c"' in row["params"]
        assert '"nul": "a\\u0000b"' in row["params"]
        assert '"nan": null' in row["params"]
        assert row["timestamp"] is not None
    assert named(stored(), "Mixed list")["params"]["list"] == ["x", {"y": 1}]
    send_all(shared_server, "py-nan")
    assert [row for row in aside() if row["event_name"] == "NaN"] == found


def test_umami_s_key_is_its_website(shared_server: Server, stored: Stored) -> None:
    """A view of a page, an event, and who somebody is."""
    send_all(shared_server, "web-umami")
    views = [row["params"] for row in stored() if row["event_name"] == "$pageview"]
    assert {"$url": "https://shop.example/umami.html?p=2", "$distinct_id": "user-1"}.items() <= (
        next(view for view in views if view.get("$url", "").endswith("?p=2")).items()
    )
    assert named(stored(), "buy")["params"]["plan"] == "pro"


@pytest.mark.parametrize("name", OF_CLOUD_EVENTS)
def test_cloud_event_is_the_same_in_every_mode(
    shared_server: Server, stored: Stored, name: str
) -> None:
    """Binary, structured and batched: one id of its source and its id."""
    before = len(stored())
    for request in recorded(name, shared_server.key):
        path = "/events" if "batch" in request.headers.get("content-type", "") else "/event"
        headers = request.headers | {"X-API-Key": shared_server.key}
        answer = request._replace(path=path, headers=headers).send(shared_server)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "success"
    rows = stored()
    assert len(rows) - before < 8
    order = named(rows, "com.example.order.completed")
    assert order["params"]["$source"] == "/shop/checkout"
    assert order["params"]["$subject"] == "user-1"
    assert order["params"]["unicode"] == UNICODE
