"""Who is who: what SDKs send before and after a sign-in is one person's, in the answers."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
import pytest
import requests

from tests.api.asked import Asked, asked_server

_NOW = datetime.now(UTC)
_TIMEOUT_S = 20


@pytest.fixture(scope="module")
def asked(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server that takes events and is asked."""
    with asked_server(shared_database_url, tmp_path_factory.mktemp("archive")) as running:
        yield running


def at(minute: int) -> str:
    """Return a time of an hour ago, as SDKs write it."""
    return (_NOW + timedelta(minutes=minute - 60)).isoformat(timespec="milliseconds")


def post(asked: Asked, path: str, body: dict[str, Any]) -> None:
    """Send what an SDK sends, with the key in its place."""
    key = asked.keys["one"].write
    named = {"writeKey": key, "api_key": key}
    answer = requests.post(
        f"{asked.server.url}{path}", json=named | body, auth=(key, ""), timeout=_TIMEOUT_S
    )
    assert answer.status_code == 200, answer.text


def segment(asked: Asked, *calls: dict[str, Any]) -> None:
    """Send calls of Segment's SDKs, a minute after each other."""
    batch = [
        {"messageId": f"{call}-{number}", "timestamp": at(number), **call}
        for number, call in enumerate(calls)
    ]
    post(asked, "/v1/batch", {"batch": batch, "sentAt": at(60)})


def posthog(asked: Asked, *events: dict[str, Any]) -> None:
    """Send events of PostHog's SDKs, a minute after each other."""
    batch = [
        {"uuid": f"{event}-{number}", "timestamp": at(number), **event}
        for number, event in enumerate(events)
    ]
    post(asked, "/batch/", {"batch": batch, "sent_at": at(60)})


def amplitude(asked: Asked, *events: dict[str, Any]) -> None:
    """Send events of Amplitude's SDKs, a minute after each other."""
    stamped = [
        {
            "insert_id": f"{event}-{number}",
            "time": round(datetime.fromisoformat(at(number)).timestamp() * 1000),
            **event,
        }
        for number, event in enumerate(events)
    ]
    post(asked, "/2/httpapi", {"events": stamped})


def people(asked: Asked, *steps: str) -> list[int]:
    """Return how many came to each step of a funnel."""
    listed = "&".join(f"step={each}" for each in steps)
    (group,) = asked.ask(f"/v1/funnel?{listed}&last=2d&window=1d")["groups"]
    return [step["people"] for step in group["steps"]]


def names_of(asked: Asked, person: str) -> list[str]:
    """Return what somebody did, the latest last."""
    events = asked.ask(f"/v1/people/{person}/events")["events"]
    assert len({each["person"] for each in events}) <= 1
    return [each["name"] for each in reversed(events)]


def test_segments_anonymous_visitor_is_who_signs_in(asked: Asked) -> None:
    """And whoever signs in on the same device after that is another one."""
    segment(
        asked,
        {"type": "page", "name": "seg", "anonymousId": "sa"},
        {"type": "track", "event": "seg_view", "anonymousId": "sa"},
        {"type": "identify", "anonymousId": "sa", "userId": "sada"},
        {"type": "track", "event": "seg_buy", "anonymousId": "sa", "userId": "sada"},
        {"type": "track", "event": "seg_buy", "anonymousId": "sa", "userId": "sbob"},
        {"type": "track", "event": "seg_view", "anonymousId": "other"},
        {"type": "track", "event": "seg_old", "userId": "temporary"},
        {"type": "alias", "previousId": "temporary", "userId": "sada"},
    )
    assert people(asked, "seg_view", "seg_buy") == [2, 1]
    whole = ["$pageview", "seg_view", "$identify", "seg_buy", "seg_old", "$create_alias"]
    assert names_of(asked, "sada") == names_of(asked, "sa") == whole
    assert names_of(asked, "temporary") == whole
    assert names_of(asked, "sbob") == ["seg_buy"]


def test_posthogs_anonymous_visitor_is_who_is_identified(asked: Asked) -> None:
    """An alias too; never two who were identified."""
    posthog(
        asked,
        {"event": "ph_view", "distinct_id": "pa"},
        {
            "event": "$identify",
            "distinct_id": "pada",
            "properties": {"$anon_distinct_id": "pa"},
        },
        {"event": "ph_buy", "distinct_id": "pada", "properties": {"$user_id": "pada"}},
        {"event": "$create_alias", "distinct_id": "pada", "properties": {"alias": "backend-7"}},
        {"event": "ph_buy", "distinct_id": "backend-7"},
        {
            "event": "$identify",
            "distinct_id": "pbob",
            "properties": {"$anon_distinct_id": "pada"},
        },
        {"event": "ph_buy", "distinct_id": "pbob"},
    )
    assert people(asked, "ph_view", "ph_buy") == [1, 1]
    whole = ["ph_view", "$identify", "ph_buy", "$create_alias", "ph_buy"]
    assert names_of(asked, "pada") == names_of(asked, "pa") == names_of(asked, "backend-7") == whole
    assert names_of(asked, "pbob") == ["$identify", "ph_buy"]


def test_amplitudes_device_is_who_signs_in_on_it(asked: Asked) -> None:
    """As of the first event with both."""
    amplitude(
        asked,
        {"event_type": "amp_view", "device_id": "device-1"},
        {"event_type": "amp_buy", "device_id": "device-1", "user_id": "amp-ada"},
        {"event_type": "amp_view", "device_id": "device-2"},
    )
    assert people(asked, "amp_view", "amp_buy") == [2, 1]
    assert names_of(asked, "device-1") == ["amp_view", "amp_buy"]
    assert names_of(asked, "device-2") == ["amp_view"]


def test_export_tells_people_as_answers_do(asked: Asked) -> None:
    """Line by line, as a table, and as a file; chosen by any of somebody's ids."""
    segment(
        asked,
        {"type": "track", "event": "exported", "anonymousId": "xa"},
        {"type": "track", "event": "exported", "anonymousId": "xa", "userId": "xada"},
        {"type": "track", "event": "exported", "anonymousId": "xb"},
    )
    path = "/v1/export?last=2d&event=exported&where=person:eq:xa&format="
    lines = [json.loads(line) for line in asked.get(f"{path}ndjson").text.splitlines()]
    assert [line["person"] for line in lines] == ["xada", "xada"]
    table = list(csv.DictReader(io.StringIO(asked.get(f"{path}csv").text)))
    assert [row["person"] for row in table] == ["xada", "xada"]
    with NamedTemporaryFile(suffix=".parquet") as file:
        file.write(asked.get(f"{path}parquet").content)
        file.flush()
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT person FROM read_parquet('{file.name}')").fetchall()
    assert found == [("xada",), ("xada",)]
