"""Whose a request is, also where proxies speak for their clients."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import hdrs, web

from ingest import addresses


def address_of(request: web.BaseRequest, proxies: Sequence[str]) -> str:
    """Return the address of whoever is behind the proxies of these networks.

    Each proxy adds to X-Forwarded-For by whom it was asked, so it is read from its end, and no
    further than proxies are trusted: what stands before is what somebody says of themselves.
    """
    trusted = addresses.networks(proxies)
    values = request.headers.getall(hdrs.X_FORWARDED_FOR, []) if trusted else []
    hops = [hop.strip() for value in values for hop in value.split(",")]
    address = request.remote or ""
    while hops and _is_in(address, trusted):
        address = hops.pop()
    return address


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:  # of a socket for both
        found = found.ipv4_mapped
    return any(found in network for network in networks)
