"""What a seed decides: whether something happens, and how much of it."""

from random import Random


def happens(random: Random, share: float) -> bool:
    """Decide whether something happens that does in this share of all cases."""
    return random.random() < share


def log_uniform(random: Random, low: float, high: float) -> float:
    """Return a number of any magnitude between two with the same chance."""
    return float(low * (high / low) ** random.random())
