"""Who has guessed wrong waits before the next guess, ever longer; nobody is locked out.

What counts is who and from where together: somebody else's guesses from elsewhere hardly delay the
owner of an account. Guesses for many accounts from one network, and from many networks for one
account, are slowed down too, for some seconds at most.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

_KNOWN_MAX: Final = 10_000
_FORGET_S: Final = 3600.0
_CLIENT_BITS: Final = 64
"""Of an IPv6 address, which one client has all addresses behind."""


class _Rule(NamedTuple):
    """How many guesses are free, and how long one waits for the next at most."""

    free: int
    wait_s_max: float


_BOTH: Final = _Rule(5, 300.0)
_NETWORK: Final = _Rule(30, 10.0)
_ACCOUNT: Final = _Rule(60, 5.0)


_Key = tuple[str, str]
"""An account and a network; empty for all."""


class _Failures(NamedTuple):
    guesses: int
    last_s: float


class Backoff:
    """Wrong guesses of the last hour, so many at most."""

    def __init__(self) -> None:
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()

    def wait_s(self, account: str, address: str) -> float:
        """Return how long a guess has to wait yet."""
        now_s = time.monotonic()
        return max(self._left_s(key, rule, now_s) for key, rule in _keys(account, address))

    def note_failure(self, account: str, address: str) -> None:
        """Note a wrong guess."""
        now_s = time.monotonic()
        for key, _ in _keys(account, address):
            count = self._count(key, now_s) + 1
            self._failures[key] = _Failures(count, now_s)
            self._failures.move_to_end(key)
        while len(self._failures) > _KNOWN_MAX:
            self._failures.popitem(last=False)

    def note_success(self, account: str, address: str) -> None:
        """Forget the wrong guesses of somebody who knew it in the end, and that this was one."""
        self.take_back(account, address)
        both, *_ = (key for key, _ in _keys(account, address))
        self._failures.pop(both, None)

    def take_back(self, account: str, address: str) -> None:
        """Note that the last guess was none: nobody looked whether it was wrong."""
        for key, _ in _keys(account, address):
            if found := self._failures.get(key):
                self._failures[key] = found._replace(guesses=max(0, found.guesses - 1))

    def _count(self, key: _Key, now_s: float) -> int:
        found = self._failures.get(key)
        return found.guesses if found and now_s - found.last_s < _FORGET_S else 0

    def _left_s(self, key: _Key, rule: _Rule, now_s: float) -> float:
        count = self._count(key, now_s)
        if count < rule.free:
            return 0.0
        wait_s = min(2.0 ** min(count - rule.free, 30), rule.wait_s_max)
        return max(0.0, self._failures[key].last_s + wait_s - now_s)


def _keys(account: str, address: str) -> Sequence[tuple[_Key, _Rule]]:
    network = _network_of(address)
    return (((account, network), _BOTH), (("", network), _NETWORK), ((account, ""), _ACCOUNT))


def _network_of(address: str) -> str:
    """Return whose addresses are probably one client's; the text itself if it is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip_network((found, min(found.max_prefixlen, _CLIENT_BITS)), strict=False))
