"""Whose a request is: what trusted proxies say, and nothing that anybody says of themselves."""

import pytest
from aiohttp.test_utils import make_mocked_request

from ingest.web.client_address import address_of

PROXIES = ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("remote", "forwarded", "told"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.1.2.3", ["10.7.7.7, 10.9.9.9"], "10.7.7.7"),
        ("2001:db8::1", ["2001:db8:1::2,198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["198.51.100.7, nonsense"], "nonsense"),
    ],
)
def test_address_is_of_whoever_is_behind_the_proxies(
    remote: str, forwarded: list[str], told: str
) -> None:
    """Read from the end, and no further than proxies are trusted."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    request = make_mocked_request("POST", "/sign-in").clone(remote=remote, headers=headers)
    assert address_of(request, PROXIES) == told


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    """Which is so unless somebody says otherwise."""
    headers = {"X-Forwarded-For": "198.51.100.7"}
    request = make_mocked_request("POST", "/").clone(remote="10.1.2.3", headers=headers)
    assert address_of(request, []) == "10.1.2.3"
