"""What the server says of itself: the samples of `/metrics`."""

from typing import Final
from urllib.request import urlopen

Samples = dict[str, float]
"""By name without the server's prefix, and with labels."""

_PREFIX = "nonito_"
_TIMEOUT_S: Final = 10.0


def scrape(host: str, port: int) -> Samples:
    """Return the samples of now; raise OSError when the server can't be asked."""
    with urlopen(f"http://{host}:{port}/metrics", timeout=_TIMEOUT_S) as answer:
        return parse(answer.read())


def parse(text: bytes) -> Samples:
    """Return the server's own samples; raise ValueError for a value that is no number."""
    samples = {}
    for line in text.decode().splitlines():
        if line.startswith(_PREFIX):
            name, _, value = line.rpartition(" ")
            samples[name.removeprefix(_PREFIX)] = float(value)
    return samples
