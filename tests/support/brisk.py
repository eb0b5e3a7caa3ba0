"""Servers for which a minute is short: `nonito` that writes every 0.3 s which keys were used.

`python -c "from tests.support import brisk; brisk.main()" serve --port N`.
"""

import sys
from typing import Final

from ingest import cli
from ingest.store import last_uses
from ingest.supervisor import child

_PROGRAM: Final = "from tests.support import brisk; brisk.main()"
COMMAND: Final = (sys.executable, "-c", _PROGRAM)
INTERVAL_S: Final = 0.3


def main() -> None:
    """Run the command; its workers and its insights process are as brisk."""
    last_uses.INTERVAL_S = INTERVAL_S  # type: ignore[misc]
    child.COMMAND = ("-c", _PROGRAM)  # type: ignore[misc]
    cli.main()
