"""Where a server listens, as people write it: `host:port`, `[::1]:8080`, `:8080`, `unix:/path`.

`:8080` and `*:8080` mean every interface, by IPv4 and IPv6, as `[::]:8080` does.
"""

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

EVERY: Final = "*"
"""The host of every interface."""
EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - where the operator says so
"""Those of IPv4 alone."""
EVERY_IPV6: Final = "::"
"""By IPv6, and by IPv4 as well."""

UNIX_PATH_BYTES_MAX: Final = 107
"""What `sun_path` holds, without the zero at its end."""
_PORT_MAX: Final = 65_535
_UNIX: Final = "unix:"
_FORMS: Final = "write host:port, [::1]:8080, :8080 for every interface, or unix:/path"
_IPV6: Final = re.compile(r"\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?)\]", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_HOST: Final = re.compile(r"[\w.-]{1,255}")
_BOTH_FAMILIES: Final = (EVERY, EVERY_IPV6)


class Tcp(NamedTuple):
    """A host, without brackets (`*`: every interface), and a port; 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Unix(NamedTuple):
    """The absolute path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


Address = Tcp | Unix


def bracketed(host: str) -> str:
    """Return a host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def parse(text: str) -> Address:
    """Return the address that a text means; raise ValueError that says how to write one."""
    if text.startswith(_UNIX):
        return Unix(_path(text.removeprefix(_UNIX)))
    host, colon, port = text.rpartition(":")
    if "/" in text:
        raise ValueError(_FORMS)
    if not colon or text.endswith("]"):
        raise ValueError(f"a port is missing; {_FORMS}")
    return Tcp(_host(host), _port(port))


def _host(text: str) -> str:
    if text in ("", EVERY):
        return EVERY
    if ipv6 := _IPV6.fullmatch(text):
        return ipv6[1]
    if ":" in text and "[" not in text:
        raise ValueError(f"an IPv6 address stands in brackets; {_FORMS}")
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no host; {_FORMS}")
    return text


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > _PORT_MAX:
        raise ValueError(f"{text!r} is no port from 0 to {_PORT_MAX}; {_FORMS}")
    return int(text)


def _path(path: str) -> str:
    path = re.sub(r"^//+", "/", path)  # unix:///run/x, as some write it
    if not path.startswith("/"):
        raise ValueError("the path of a unix socket is absolute, as in unix:/run/nonito.sock")
    if "\0" in path or path.endswith(("/", "/.", "/..")):
        raise ValueError("that is no path of a file")
    length = len(os.fsencode(path))
    if length > UNIX_PATH_BYTES_MAX:
        raise ValueError(
            f"the path has {length} bytes, that of a unix socket has "
            f"{UNIX_PATH_BYTES_MAX} at most; take a shorter one"
        )
    return path


def parse_all(texts: Iterable[str]) -> list[Address]:
    """Return what texts mean; raise ValueError that names the one at fault, or two that overlap."""
    found: list[Address] = []
    for text in texts:
        try:
            found.append(parse(text))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
    _check_overlaps(found)
    return found


def _check_overlaps(addresses: Sequence[Address]) -> None:
    for one, other in itertools.combinations(addresses, 2):
        if one == other and not (isinstance(one, Tcp) and one.port == 0):
            raise ValueError(f"{one} is there twice")
        if isinstance(one, Tcp) and isinstance(other, Tcp) and overlap(one, other):
            raise ValueError(f"{one} and {other} overlap; leave one of them out")


def overlap(one: Tcp, other: Tcp) -> bool:
    """Return whether one of the two takes (some of) the other's connections; names aside."""
    if one.port != other.port or one.port == 0:
        return False
    hosts = (one.host, other.host)
    if one.host == other.host or any(host in _BOTH_FAMILIES for host in hosts):
        return True
    return EVERY_IPV4 in hosts and not any(":" in host for host in hosts)


def identity(path: str) -> tuple[int, int, int]:
    """Return what tells the file at a path from one that lies there later; raise OSError.

    An inode's number is soon another file's.
    """
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_ctime_ns


def networks(texts: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    """Return networks as people write them, `10.0.0.0/8` or one address; raise ValueError."""
    return [ip_network(text) for text in texts]
