"""How much memory this process may use: the machine's, or what its control group leaves of it."""

import os
from contextlib import suppress

from ingest import control_group


def total_bytes() -> int:
    """Return it, whoever uses it now."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for words in control_group.limits("memory.max"):
        with suppress(ValueError):
            found.append(int(words[0]))
    return min(found)
