"""The budget of memory: what all clients of the process together may make it hold.

1. There is one, for all that arrives and leaves: heads that are incomplete, what waits behind a
   request, bodies, what is inflated of them, what is made of that, and answers until they are sent.
2. Whatever does not fit is refused (503); nobody waits for room.
3. FREE_BYTES fit always, so a probe or a small event never depends on what others hold.
4. What nobody has shown a key for gets a KEYLESS_PART of it at most.
5. The answer to what is stored always fits: it is counted, and others are refused.

A hold ends when what is held is gone, at the latest when its client has been silent for
`limits.idle_timeout_s`.
"""

from typing import Final

from ingest.errors import Code, Refusal

FREE_BYTES: Final = 4096
"""A share that is as small fits always: 40 MB of 10,000 connections."""
KEYLESS_PART: Final = 4
"""One part of so many of the budget is for those without a key."""


class Budget:
    """Bytes that may be held, and how many are; of all connections of the process."""

    def __init__(self, bytes_max: int, within: "Budget | None" = None) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._within = within

    def part(self) -> "Budget":
        """Return the budget of those without a key; what is held of it is held of this one too."""
        return Budget(self.bytes_max // KEYLESS_PART, within=self)

    def fits(self, size: int) -> bool:
        """Return whether so many bytes more may be held."""
        if self.held_bytes + size > self.bytes_max:
            return False
        return self._within is None or self._within.fits(size)

    def add(self, size: int) -> None:
        """Count so many bytes more, or less if it is negative."""
        self.held_bytes += size
        if self._within is not None:
            self._within.add(size)


class Share:
    """What one holder has of a budget."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on; raise Refusal if they don't fit, and hold what was."""
        if self.try_resize(size):
            return
        if size > self._budget.bytes_max:
            raise too_large(self._budget.bytes_max)
        raise overloaded()

    def try_resize(self, size: int) -> bool:
        """Hold so many bytes from now on if they fit; return whether they do."""
        if size > self.size and size > FREE_BYTES and not self._budget.fits(size - self.size):
            return False
        self.count(size)
        return True

    def count(self, size: int) -> None:
        """Hold so many bytes from now on, whether they fit or not."""
        if size != self.size:
            self._budget.add(size - self.size)
            self.size = size


def overloaded() -> Refusal:
    """Return the refusal of what there is no room for now."""
    return Refusal(Code.OVERLOADED, "Too much is being sent at once; try again.")


def too_large(bytes_max: int) -> Refusal:
    """Return the refusal of a body of more than so many bytes."""
    return Refusal(Code.PAYLOAD_TOO_LARGE, f"The body may have {bytes_max} bytes at most.")
