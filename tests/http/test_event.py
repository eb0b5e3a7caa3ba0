"""POST /event as the API reference documents it, against a real server and a real Postgres."""

import pytest

from tests.support.server import Server

COMMON_EVENTS = [
    ("page_view", {"page": "/home", "referrer": "https://example.org/", "user_id": "u_1"}),
    ("button_click", {"button_id": "signup_btn", "page": "/home", "user_id": "u_1"}),
    ("user_signup", {"user_id": "u_1", "plan": "premium", "source": "google_ads"}),
    ("purchase", {"user_id": "u_1", "amount": 19.99, "product_id": "p_7"}),
    ("app_open", {"device": "iPhone", "version": "2.1.0", "user_id": "u_1"}),
    ("error", {"message": "Übel 💥", "stack": "a\n  at b", "user_id": "u_1"}),
]


@pytest.mark.parametrize(("name", "params"), COMMON_EVENTS)
def test_common_event_is_answered_with_its_row(
    shared_server: Server, name: str, params: dict[str, object]
) -> None:
    """Each of the six documented events comes back as it was sent."""
    answer = shared_server.post({"event_name": name, "event_params": params})
    assert answer.status_code == 200
    (row,) = answer.json()["data"]
    assert (row["event_name"], row["event_params"]) == (name, params)


def test_key_that_reads_is_told_apart_from_a_wrong_one(shared_server: Server) -> None:
    """Whoever has both takes one for the other."""
    for key, told in (("nr_" + "x" * 43, "begins with nr_ reads"), ("nk_x", "is not valid")):
        answer = shared_server.post({}, **{"X-API-Key": key})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (401, "invalid_api_key")
        assert told in error["message"]
