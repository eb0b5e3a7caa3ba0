"""Who may ask, and in which shape whatever goes wrong is told."""

import pytest
import requests

from tests.api.asked import Asked

ROUTES = (
    "/v1/names",
    "/v1/trends",
    "/v1/funnel?step=a&step=b",
    "/v1/retention",
    "/v1/events",
    "/v1/people/x/events",
    "/v1/export",
)


@pytest.mark.parametrize("route", ROUTES)
def test_only_a_key_that_reads_may_ask(asked: Asked, route: str) -> None:
    """None, a wrong one, and one that sends are told what is missing, and in which header."""
    none = requests.get(f"{asked.url}{route}", timeout=30)
    assert (none.status_code, none.json()["error"]["code"]) == (401, "missing_api_key")
    assert none.headers["WWW-Authenticate"] == "Bearer"
    assert "X-API-Key" in none.json()["error"]["message"]
    asked.refused(route, 401, "invalid_api_key", X_API_Key="nr_x")
    sends = asked.keys["one"].write
    assert "nr_" in asked.refused(route, 403, "wrong_kind_of_key", X_API_Key=sends)


def test_key_as_bearer_is_the_same_and_two_are_none(asked: Asked) -> None:
    """A gateway's own token beside ours would be somebody else's question."""
    read = asked.keys["one"].read
    bearer = {"Authorization": f"Bearer {read}"}
    assert requests.get(f"{asked.url}/v1/events", headers=bearer, timeout=30).status_code == 200
    asked.refused("/v1/events", 401, "invalid_api_key", **bearer)


def test_key_in_the_address_is_refused_without_being_repeated(asked: Asked) -> None:
    """Addresses stand in logs."""
    message = asked.refused(
        f"/v1/events?api_key={asked.keys['one'].read}", 400, "invalid_parameter"
    )
    assert "header" in message
    assert asked.keys["one"].read not in message


@pytest.mark.parametrize("path", ["/event", "/v1", "/v1/trends/", "/v1/people//events"])
def test_where_nothing_is_is_a_404(asked: Asked, path: str) -> None:
    """Events are not taken here either."""
    asked.refused(path, 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/trends", "/healthz"])
def test_other_methods_are_told_which_there_are(asked: Asked, method: str, path: str) -> None:
    """No preflight either: no page's script may read this."""
    origin = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    answer = requests.request(method, f"{asked.url}{path}", headers=origin, timeout=30)
    assert (answer.status_code, answer.headers["Allow"][:3]) == (405, "GET")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_answers_are_kept_by_nobody_and_say_whose_request_they_are(asked: Asked) -> None:
    """Not by a browser or a proxy; the request's id comes back."""
    answer = asked.get("/v1/events", X_Request_Id="abc")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"] == "abc"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("trends?evnt=x", "event"),
        ("trends?interval=year", "hour, day, week, month"),
        ("trends?from=yesterday", "from: write a day as"),
        ("trends?from=2026-02-01&to=2026-01-01", "to: it must be later"),
        ("trends?timezone=Mars/Base", "timezone: "),
        ("trends?measure=sum", "measure: write count"),
        ("trends?measure=p0:params.x", "measure: write count"),
        ("trends?breakdown=plan", "breakdown: "),
        ("trends?top=0", "top: write a whole number from 1"),
        ("trends?top=1&top=2", "top: it may be given once"),
        ("trends?where=params.plan", "where: write FIELD"),
        ("trends?where=params.plan:is:x", "eq, ne"),
        ("trends?where=params.plan:exists:x", "exists takes no value"),
        ("trends?where=params.plan:eq", "eq takes a value"),
        ("funnel?step=a", "step: give it 2 to 10"),
        ("funnel?step=a&step=b&window=7", "window: write a number and a unit"),
        ("retention?interval=hour", "interval: write one of day, week, month"),
        ("events?before=x", "before: "),
        ("events?limit=1001", "limit: "),
        ("export?format=xml", "ndjson, csv, parquet"),
        ("export?after=x", "after: "),
        ("export?variant=true", "variant: only Parquet"),
    ],
)
def test_wrong_parameter_is_named_with_what_is_allowed(
    asked: Asked, query: str, named: str
) -> None:
    """One line, before anything is asked."""
    assert named in asked.refused(f"/v1/{query}", 400, "invalid_parameter")


def test_revoked_key_opens_nothing_a_moment_later(asked: Asked) -> None:
    """A look-up is good for a second."""
    asked.refused("/v1/events", 401, "invalid_api_key", X_API_Key=asked.revoked_key())


def test_too_long_a_range_is_told_with_one_that_fits(asked: Asked) -> None:
    """By what is said, it is answered."""
    query = "/v1/trends?interval=hour&to=2026-01-01"
    message = asked.refused(f"{query}&from=2020-01-01", 422, "too_dear")
    start = message.rpartition("from=")[2].rstrip(".")
    assert asked.get(f"{query}&from={start}").status_code == 200
