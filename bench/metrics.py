"""What the server says of itself: the samples of `/metrics`."""

Samples = dict[str, float]
"""By name without the server's prefix, and with labels."""

_PREFIX = "nonito_"


def parse(text: bytes) -> Samples:
    """Return the server's own samples; raise ValueError for a value that is no number."""
    samples = {}
    for line in text.decode().splitlines():
        if line.startswith(_PREFIX):
            name, _, value = line.rpartition(" ")
            samples[name.removeprefix(_PREFIX)] = float(value)
    return samples
