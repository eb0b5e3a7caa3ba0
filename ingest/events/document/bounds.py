"""How much of a document is done at once, and how much in all."""

from typing import Final

from ingest.events.nesting import LEVELS_MAX

WHOLE_BYTES_MAX: Final = 256 * 1024
WHOLE_COMMAS_MAX: Final = 20_000
"""Of `[0,0,0,…` the parser would make 131,000 views, for 4 ms, before they could be counted."""

PIECE_BYTES: Final = 32 * 1024
PIECE_VALUES_MAX: Final = 1_000
COUNTED_BYTES: Final = 1024 * 1024
"""Brackets are counted at 1 ms a MiB at most."""
STEPS_MAX: Final = 1_000
"""Brackets that are followed one by one, at 1 µs each, before others have a turn."""

TURNS_MAX: Final = 1_000
"""So many of these turns a document may take, 1 s in all. No batch of events needs as many."""

NESTING_MAX: Final = LEVELS_MAX + 1
"""An event's levels: its own, and those of its parameters."""

SEAM_BYTES_MAX: Final = 40
"""A search backwards takes the product of this and a piece at worst: 1 ms."""

WRONG_GUESSES_MAX: Final = 3
