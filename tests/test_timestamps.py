"""When an event happened: told back as the same instant, kept in its row, and in its partition."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.support.postgres import fetch, kill
from tests.support.server import Server, books_balance, wait_for, wait_until_drained
from tests.test_retries import DUPLICATE, KEY, make_id

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
PAST_DAYS = 1826
SPELLINGS = [
    (lambda moment: moment.isoformat()),
    (lambda moment: moment.isoformat().replace("T", " ").replace("+00:00", "z")),
    (lambda moment: moment.astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat()),
    (lambda moment: moment.astimezone(timezone(-timedelta(hours=23, minutes=59))).isoformat()),
]


def now() -> datetime:
    """Return the time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def post_batch(server: Server, events: Sequence[object]) -> requests.Response:
    """Post events as an array."""
    return requests.post(
        f"{server.url}/events", json=events, headers={"X-API-Key": server.key}, timeout=60
    )


def post(server: Server, way: str, event: dict[str, Any]) -> tuple[int, Any]:
    """Post an event alone or in a batch; return the status, and its row or the code."""
    answer = server.post(event) if way == "alone" else post_batch(server, [event])
    shape = answer.json()
    if "data" in shape:
        return answer.status_code, shape["data"][0]
    return answer.status_code, (shape["errors"][0] if "errors" in shape else shape["error"])["code"]


def stored(url: str, event_id: str) -> Any:  # noqa: ANN401 - a record
    """Return the one row of an id, and the partition that it is in."""
    (row,) = asyncio.run(
        fetch(
            url,
            "SELECT *, tableoid::regclass::text AS partition FROM events WHERE id = $1",
            event_id,
        )
    )
    return row


def moment_of(event_id: str) -> datetime:
    """Return the time in an id."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=uuid.UUID(event_id).int >> 80)


def partition_of(moment: datetime) -> str:
    """Return the name of a month's partition."""
    first = moment.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1) - DAY
    return f"events_{first:%Y%m%d}_{last:%Y%m%d}"


ways = pytest.mark.parametrize("way", ["alone", "in a batch"])


@ways
@pytest.mark.parametrize(
    ("ago", "micros", "ending"),
    [
        (timedelta(0), 0, ".000Z"),
        (400 * DAY, 123_000, ".123Z"),
        (800 * DAY, 123_456, ".123456Z"),
        (1200 * DAY, 1, ".000001Z"),
        (-DAY + MINUTE, 0, ".000Z"),
    ],
)
def test_event_is_stored_under_its_own_time(
    shared_server: Server,
    shared_database_url: str,
    way: str,
    ago: timedelta,
    micros: int,
    ending: str,
) -> None:
    """In a partition of that time, with an id of it; `created_at` stays the time of receipt."""
    moment = now() - ago + timedelta(microseconds=micros)
    before = now()
    status, row = post(shared_server, way, {"event_name": "t", "timestamp": moment.isoformat()})
    assert status == 200
    assert list(row) == ["id", "event_name", "event_params", "created_at", "timestamp"]
    assert row["timestamp"] == f"{moment:%Y-%m-%dT%H:%M:%S}{ending}"
    assert before <= datetime.fromisoformat(row["created_at"]) <= now() + MINUTE
    assert moment_of(row["id"]) == moment.replace(microsecond=micros // 1000 * 1000)
    found = stored(shared_database_url, row["id"])
    assert found["timestamp"] == moment
    assert found["created_at"] == datetime.fromisoformat(row["created_at"])
    assert found["partition"] == partition_of(moment)


@ways
def test_id_decides_the_partition_and_the_timestamp_is_kept(
    shared_server: Server, shared_database_url: str, way: str
) -> None:
    """A client may make its ids when it sends and not when something happened."""
    moment, made = now() - 300 * DAY, now() - 900 * DAY
    event_id = make_id(int(made.timestamp() * 1000))
    event = {"event_name": "t", "timestamp": moment.isoformat(), "id": event_id}
    status, row = post(shared_server, way, event)
    assert (status, row["id"], datetime.fromisoformat(row["timestamp"])) == (200, event_id, moment)
    found = stored(shared_database_url, event_id)
    assert (found["timestamp"], found["partition"]) == (moment, partition_of(made))
    status, again = post(shared_server, way, event | {"timestamp": now().isoformat()})
    told = {"duplicate": "different"} if way == "in a batch" else {}
    assert (status, again) == (200, row | told)


def test_key_and_timestamp_go_together(shared_server: Server, shared_database_url: str) -> None:
    """A retry gets the first one's time and id, whatever it says itself."""
    headers = {KEY: str(uuid.uuid4())}
    moment = now() - 1000 * DAY
    first = shared_server.post({"event_name": "t", "timestamp": moment.isoformat()}, **headers)
    again = shared_server.post({"event_name": "t", "timestamp": now().isoformat()}, **headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers[DUPLICATE] == "different"
    assert first.json() == again.json()
    found = stored(shared_database_url, first.json()["data"][0]["id"])
    assert (found["timestamp"], found["partition"]) == (moment, partition_of(moment))


def test_event_without_a_timestamp_has_none(
    shared_server: Server, shared_database_url: str
) -> None:
    """Not even null; and null is the same as none."""
    for event in ({"event_name": "t"}, {"event_name": "t", "timestamp": None, "id": None}):
        for way in ("alone", "in a batch"):
            status, row = post(shared_server, way, event)
            assert (status, "timestamp" in row) == (200, False)
            assert stored(shared_database_url, row["id"])["timestamp"] is None


@ways
@pytest.mark.parametrize(
    ("ago", "is_taken"),
    [
        (PAST_DAYS * DAY - MINUTE, True),
        (PAST_DAYS * DAY + MINUTE, False),
        (-DAY + MINUTE, True),
        (-DAY - MINUTE, False),
    ],
)
@pytest.mark.parametrize("of", ["timestamp", "id"])
def test_window_is_5_years_back_and_a_day_ahead(
    shared_server: Server,
    way: str,
    of: str,
    ago: timedelta,
    is_taken: bool,  # noqa: FBT001
) -> None:
    """Of an id as of a timestamp."""
    moment = now() - ago
    said = {"timestamp": moment.isoformat(), "id": make_id(int(moment.timestamp() * 1000))}
    status, row = post(shared_server, way, {"event_name": "t", of: said[of]})
    if is_taken:
        assert (status, moment_of(row["id"])) == (200, moment)
    else:
        assert (status, row) == (400, f"invalid_{of}")


@ways
@pytest.mark.parametrize(
    "sent", ["", "now", "2026-01-10T12:00:00", "2026-01-10", 1768046400, True, [], {"a": 1}]
)
def test_other_forms_are_refused(shared_server: Server, way: str, sent: object) -> None:
    """Above all a time without its zone."""
    status, code = post(shared_server, way, {"event_name": "t", "timestamp": sent})
    assert (status, code) == (400, "invalid_timestamp")


def test_window_can_be_configured(database_url: str, start_server: StartServer) -> None:
    """Up to a century back, of which an id can't carry all: then it is a 400, too."""
    key = make_key(database_url)
    wide = start_server(
        database_url,
        key=key,
        events__timestamp_past_days_max=36_525,
        events__timestamp_future_s_max=604_800,
    )
    narrow = start_server(
        database_url,
        key=key,
        events__timestamp_past_days_max=0,
        events__timestamp_future_s_max=0,
    )
    for moment, is_in in (
        (datetime(1970, 1, 1, tzinfo=UTC), True),
        (now() + 6.9 * DAY, True),
        (datetime(1969, 12, 31, tzinfo=UTC), False),
        (now() + 7.1 * DAY, False),
    ):
        for way in ("alone", "in a batch"):
            event = {"event_name": "t", "timestamp": moment.isoformat()}
            status, row = post(wide, way, event)
            assert status == (200 if is_in else 400), moment
            assert post(narrow, way, event) == (400, "invalid_timestamp")
            if is_in:
                assert stored(database_url, row["id"])["partition"] == partition_of(moment)


def test_batch_of_many_months_makes_their_partitions(
    database_url: str, start_server: StartServer
) -> None:
    """Those of the most events first; whatever has none yet is stored all the same."""
    server = start_server(database_url)
    first = now().replace(day=15) - 500 * DAY
    months = [first + timedelta(days=30.4 * number) for number in range(5)]
    sent = [{"event_name": "m", "timestamp": moment.isoformat()} for moment in months * 20]
    answer = post_batch(server, sent)
    assert answer.status_code == 200
    rows = answer.json()["data"]
    for row, moment in zip(rows[:5], months, strict=True):
        found = stored(database_url, row["id"])
        assert (found["timestamp"], found["partition"]) == (moment, partition_of(moment))
    old = now() - 1800 * DAY
    scattered = [
        {"event_name": "s", "timestamp": (old + timedelta(days=31 * number)).isoformat()}
        for number in range(40)
    ]
    answer = post_batch(server, scattered)
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 40
    (row,) = asyncio.run(fetch(database_url, "SELECT count(*) AS n FROM events"))
    assert row["n"] == 140
    assert books_balance(server.metrics()) == 0


def test_past_events_of_an_outage_reach_their_partitions(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """Through the spool, alone and in a batch, with and without ids and keys."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, spool__path=tmp_path)
    assert server.post({"event_name": "before"}).status_code == 200
    kill(own_cluster)
    moment = now() - 700 * DAY + timedelta(microseconds=123_456)
    event = {"event_name": "past", "timestamp": moment.isoformat()}
    named = {**event, "id": make_id(int(moment.timestamp() * 1000))}
    answers = [
        server.post(event),
        server.post(event, **{KEY: "a"}),
        server.post(named),
        post_batch(
            server, [event, named, {**event, "id": make_id(int(moment.timestamp() * 1000))}]
        ),
    ]
    assert [answer.status_code for answer in answers] == [202] * 4
    rows = [row for answer in answers for row in answer.json()["data"]]
    own_cluster.start()
    wait_until_drained(server)
    wait_for(lambda: server.post({"event_name": "after"}).status_code == 200)
    assert len({row["id"] for row in rows}) == 5
    for row in rows:
        found = stored(url, row["id"])
        assert (found["timestamp"], found["partition"]) == (moment, partition_of(moment))
        assert found["created_at"] == datetime.fromisoformat(row["created_at"])
        assert datetime.fromisoformat(row["timestamp"]) == moment
    assert books_balance(server.metrics()) == 0


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    told=st.lists(
        st.tuples(
            st.integers(-86_300_000_000, PAST_DAYS * 86_400_000_000 - 100_000_000),
            st.sampled_from(SPELLINGS),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_any_instant_in_any_spelling_is_stored_and_told_as_itself(
    shared_server: Server, shared_database_url: str, told: list[tuple[int, Any]]
) -> None:
    """Microseconds before now, as many clients write them."""
    moments = [now() - timedelta(microseconds=micros) for micros, _ in told]
    sent = [
        {"event_name": "any", "timestamp": spell(moment)}
        for moment, (_, spell) in zip(moments, told, strict=True)
    ]
    answer = post_batch(shared_server, sent)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    assert [datetime.fromisoformat(row["timestamp"]) for row in rows] == moments
    assert all(row["timestamp"].endswith("Z") for row in rows)
    found = asyncio.run(
        fetch(
            shared_database_url,
            'SELECT id::text, "timestamp" FROM events WHERE id = ANY ($1::uuid[])',
            [row["id"] for row in rows],
        )
    )
    in_database = {row["id"]: row["timestamp"] for row in found}
    assert [in_database[row["id"]] for row in rows] == moments
    assert json.loads(answer.content)["status"] == "success"
