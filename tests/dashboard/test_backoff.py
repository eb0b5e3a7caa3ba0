"""How long a guess has to wait, by who and from where."""

import pytest

from ingest.dashboard import backoff
from ingest.dashboard.backoff import Backoff

HERE, THERE = "192.0.2.1", "198.51.100.7"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """Return what it shows."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that guesses are counted by."""
    made = Clock()
    monkeypatch.setattr(backoff, "time", made)
    return made


def guess(tried: Backoff, clock: Clock, account: str, address: str, count: int) -> None:
    """Guess wrong so often, waiting as long as one has to."""
    for _ in range(count):
        clock.now_s += tried.wait_s(account, address)
        tried.note_failure(account, address)


def test_some_guesses_are_free_and_then_it_takes_ever_longer(clock: Clock) -> None:
    """Up to five minutes."""
    tried, waits = Backoff(), []
    for _ in range(16):
        waits.append(tried.wait_s("a", HERE))
        guess(tried, clock, "a", HERE, 1)
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_somebody_elsewhere_is_hardly_delayed(clock: Clock) -> None:
    """Whoever guesses at an account from elsewhere, and for days."""
    tried = Backoff()
    guess(tried, clock, "a", THERE, 50)
    assert tried.wait_s("a", THERE) == 300
    assert tried.wait_s("a", HERE) == 0
    guess(tried, clock, "a", THERE, 500)
    assert tried.wait_s("a", HERE) <= 5
    assert tried.wait_s("b", THERE) <= 10


def test_many_accounts_from_one_network_are_slowed_down(clock: Clock) -> None:
    """An IPv6 network is one client's."""
    tried = Backoff()
    for number in range(40):
        guess(tried, clock, f"a{number}", f"2001:db8::{number:x}", 1)
    assert 0 < tried.wait_s("another", "2001:db8::ffff") <= 10
    assert tried.wait_s("another", "2001:db8:0:1::1") == 0


def test_who_knows_it_in_the_end_begins_anew(clock: Clock) -> None:
    """As does who waits for an hour."""
    tried = Backoff()
    guess(tried, clock, "a", HERE, 7)
    assert tried.wait_s("a", HERE) > 0
    tried.note_success("a", HERE)
    assert tried.wait_s("a", HERE) == 0
    guess(tried, clock, "a", HERE, 7)
    assert tried.wait_s("a", HERE) > 0
    clock.now_s += 3601
    assert tried.wait_s("a", HERE) == 0


def test_accounts_and_networks_are_not_mixed_up(clock: Clock) -> None:
    """Whoever calls an account as another one's and its network counts as none of both."""
    tried = Backoff()
    guess(tried, clock, f"a {HERE}/32", THERE, 20)
    guess(tried, clock, f"{HERE}/32", THERE, 20)
    assert tried.wait_s("a", HERE) == 0


def test_guess_that_nobody_looked_at_is_none(clock: Clock) -> None:
    """As while Postgres is away."""
    tried = Backoff()
    for _ in range(200):
        guess(tried, clock, "a", HERE, 1)
        tried.take_back("a", HERE)
    assert tried.wait_s("a", HERE) == 0


def test_what_is_known_is_bounded() -> None:
    """Whoever has many addresses is forgotten in part."""
    tried = Backoff()
    for number in range(6_000):
        tried.note_failure(f"a{number}", f"10.0.{number // 256}.{number % 256}")
    assert len(tried._failures) <= 10_000
