"""What the intake lets through, Postgres stores and gives back equal; the rest breaks a rule."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.agreement import round_trip
from bench.agreement.round_trip import Difference
from ingest.events import event
from tests.http.documents import PARAMS
from tests.support.postgres import fetch

SEED = 4
BATCHES = 5
EXAMPLES = 30
Examine = Callable[[list[bytes]], tuple[int, list[Difference]]]
BODIES = st.lists(PARAMS.map(lambda params: b'{"event_name":"a","event_params":%b}' % params))


@pytest.fixture(scope="module")
def examine(shared_database_url: str) -> Iterator[Examine]:
    """Compare what the intake and Postgres make of bodies, on one connection for all examples."""
    with asyncio.Runner() as runner:
        context = round_trip.connected(shared_database_url)
        connection = runner.run(context.__aenter__())
        yield lambda bodies: runner.run(round_trip.examine(connection, bodies))
        runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize("seed", range(SEED, SEED + BATCHES))
def test_intake_and_postgres_agree_on_generated_bodies(examine: Examine, seed: int) -> None:
    """A thousand hostile ones a batch; `python -m bench documents` tries as many as one likes."""
    accepted, differences = examine(round_trip.batch(round_trip.BATCH, seed))
    assert differences == []
    assert round_trip.BATCH / 4 < accepted < round_trip.BATCH * 3 / 4


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(bodies=BODIES)
def test_intake_and_postgres_agree_on_batches_of_hypothesis_s(
    examine: Examine, bodies: list[bytes]
) -> None:
    """Which looks for the smallest body that they disagree on by itself."""
    assert examine(bodies)[1] == []


@pytest.mark.parametrize(
    ("broken", "body", "words"),
    [
        ("_check_nul", rb'{"event_name":"a","event_params":{"a":"\u0000"}}', "22P05"),
        ("_check_numbers", b'{"event_name":"a","event_params":{"a":1e200000}}', "22003"),
        ("require_utf8", b'{"event_name":"a","event_params":{"a":"\xff"}}', "22021"),
    ],
)
def test_decoder_that_lets_too_much_through_is_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, broken: str, body: bytes, words: str
) -> None:
    """With each check taken out in turn; its neighbours are compared all the same."""
    good = b'{"event_name":"a","event_params":{}}'
    monkeypatch.setattr(event, broken, lambda *_: None)
    accepted, differences = examine([good, body, good])
    assert accepted == 3
    assert [found.body for found in differences] == [body]
    assert words in differences[0].text


def test_decoder_that_refuses_too_much_is_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One digit less than the contract has."""
    monkeypatch.setattr(event, "DIGITS_MAX", 399)
    (found,) = examine([b'{"event_name":"a","event_params":{"a":0.%b}}' % (b"1" * 399)])[1]
    assert "refused for nothing" in found.text


@pytest.mark.parametrize(
    ("stored", "is_equal"),
    [
        (b'{"a":1.0}', True),
        (b'{"a":true,"a":10e-1}', True),
        (b'{"a":true}', False),
        (b'{"a":"1"}', False),
        (b'{"a":1.0000000000000000000000000000000001}', False),
        (b'{"a":1,"b":null}', False),
    ],
)
def test_event_that_comes_back_another_is_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, *, stored: bytes, is_equal: bool
) -> None:
    """Compared as JSON, and every digit counts."""
    monkeypatch.setattr(round_trip, "decode", lambda *_: ("a", stored, None))
    _, differences = examine([b'{"event_name":"a","event_params":{"a":1}}'])
    assert (differences == []) is is_equal


def test_difference_is_shown_by_its_smallest_body(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same seed finds it again."""
    monkeypatch.setattr(event, "_check_nul", lambda *_: None)
    found = round_trip.run(shared_database_url, 20, SEED).findings
    assert found == round_trip.run(shared_database_url, 20, SEED).findings
    assert {each.seed for each in found} == {SEED}
    assert min(len(each.body) for each in found) < 80


def test_run_leaves_the_database_as_it_was(shared_database_url: str) -> None:
    """All of it is rolled back."""
    result = round_trip.run(shared_database_url, 100, SEED)
    assert (result.documents, result.findings) == (100, [])
    assert asyncio.run(fetch(shared_database_url, "SELECT FROM events")) == []
