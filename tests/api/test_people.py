"""People are erased by keys that may, once what goes was named twice; nobody else's are touched."""

import asyncio

import pytest
import requests

from ingest.store import api_keys
from ingest.store.api_keys import Kind
from tests.api.asked import TIMEOUT_S, Asked
from tests.support.postgres import fetch, make_postgres
from tests.support.server import wait_for

EVE = "eve/of a?b"
PATH = "/v1/people/eve%2Fof%20a%3Fb"


@pytest.fixture(scope="module")
def eraser(asked: Asked) -> str:
    """A key of the first app that may erase."""

    async def work() -> str:
        async with make_postgres(asked.database_url).session() as connection:
            return await api_keys.create(connection, "one", "", None, Kind.READ, may_erase=True)

    return asyncio.run(work())


def delete(asked: Asked, key: str, path: str = PATH) -> requests.Response:
    """Ask for an erasure."""
    return requests.delete(f"{asked.url}{path}", headers={"X-API-Key": key}, timeout=TIMEOUT_S)


def send(asked: Asked, app: str = "one") -> None:
    """Have some events of hers, and of somebody else."""
    hers = {"event_name": "a", "event_params": {"$user_id": EVE, "$anonymous_id": f"anon-{EVE}"}}
    asked.send(hers, hers, {"event_name": "a", "event_params": {"user_id": "ada"}}, app=app)


def test_person_is_erased_when_what_goes_was_named(asked: Asked, eraser: str) -> None:
    """Within the app of the key; the answer says where to look, and the log who asked."""
    send(asked)
    send(asked, "two")
    everybody = "/v1/trends?event=a&interval=month&last=1mo"
    total = asked.ask(everybody)["series"][0]["total"]
    known = asked.ask(PATH)
    assert known["ids"] == [EVE, f"anon-{EVE}"]
    assert known["events"] == 2
    for path in (PATH, f"{PATH}?confirm=x"):
        refused = delete(asked, eraser, path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_confirmed")
    assert asked.ask(PATH)["events"] == 2
    answer = delete(asked, eraser, f"{PATH}?confirm={known['confirm']}")
    assert answer.status_code == 202
    where = answer.headers["Location"]
    wait_for(lambda: asked.ask(where)["done_at"] is not None, TIMEOUT_S)
    done = asked.ask(where)
    assert done["events"] == 2
    assert EVE not in str(done)
    # An answer is kept for a moment, and erasing may be as quick.
    wait_for(lambda: asked.ask(everybody)["series"][0]["total"] == total - 2, TIMEOUT_S)
    assert asked.ask(PATH)["ids"] == [EVE]
    assert asked.ask(f"{PATH}/events")["events"] == []
    assert len(asked.ask("/v1/people/ada/events")["events"]) == 1
    assert len(asked.ask(f"{PATH}/events", "two")["events"]) == 2
    noted = asyncio.run(fetch(asked.database_url, "SELECT email, action, object FROM audit_log"))
    assert [row["action"] for row in noted][-2:] == ["asked to erase a person", "erased a person"]
    assert noted[-1]["email"] == f"key {eraser[:11]}…"
    assert EVE not in str(noted)
    refused = asked.get(where, "two")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


def test_erasure_that_is_asked_for_again_is_the_one_that_goes_on(asked: Asked, eraser: str) -> None:
    """Though what was named before is no more what there is."""
    is_held = (
        "INSERT INTO erasures (app_id, digests, ids, asked_by, worker, worked_at)"
        " SELECT id, ARRAY[sha256('zoe')], ARRAY['zoe'], 'key', gen_random_uuid(),"
        " now() + interval '1 hour' FROM apps WHERE name = 'one' RETURNING id"
    )
    ((number,),) = asyncio.run(fetch(asked.database_url, is_held))
    try:
        for path in ("/v1/people/zoe", "/v1/people/zoe?confirm=0123456789abcdef"):
            answer = delete(asked, eraser, path)
            assert answer.status_code == 202
            assert answer.headers["Location"] == f"/v1/erasures/{number}"
    finally:
        asyncio.run(fetch(asked.database_url, "DELETE FROM erasures WHERE id = $1", number))
    assert delete(asked, eraser, "/v1/people/zoe?confirm=x").status_code == 409


def test_key_that_may_not_erases_nobody(asked: Asked) -> None:
    """Neither one that only reads nor one that writes; and nobody without one."""
    for key, status, code in (
        (asked.keys["one"].read, 403, "may_not_erase"),
        (asked.keys["one"].write, 403, "wrong_kind_of_key"),
        ("", 401, "missing_api_key"),
        ("nr_no", 401, "invalid_api_key"),
    ):
        refused = delete(asked, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


def test_events_of_a_person_are_not_deleted_by_their_address(asked: Asked, eraser: str) -> None:
    """It is none of a person."""
    refused = delete(asked, eraser, f"{PATH}/events")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET"


def test_id_that_nobody_has_is_refused(asked: Asked) -> None:
    """Blank, too long, or what Postgres can't hold."""
    for person in ("%20", "x" * 1_001, "%00"):
        asked.refused(f"/v1/people/{person}", 400, "invalid_parameter")
