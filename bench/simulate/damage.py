"""Damage on the spool's disk while no process runs: a bit turns, or the end of a file is gone.

What was in that file may be lost then, but never in silence.
"""

from pathlib import Path
from random import Random
from typing import Final

from bench.audit import spool_disk, spool_faults
from bench.audit.workload import TOKEN
from ingest.spool.formats import STORAGE

_BATCHES: Final = 0.5
"""The chance that it is one batch that is spoilt, and not any place."""


def spoil(directory: Path, random: Random) -> list[str]:
    """Spoil a file, or the log beside it; return the tokens of all events that may be lost so."""
    paths = [
        each for each in sorted(directory.iterdir()) if STORAGE.file_of(each.name) == each.name
    ]
    if random.random() < _BATCHES:
        blobs = spool_disk.spoil_one(paths, random)
        return [token.decode() for blob in blobs for token in TOKEN.findall(blob)]
    for path in paths:
        if tokens := [*spool_faults.tokens_in(path)]:
            spoilt = [each for each in (path, *_logs_of(path)) if each.stat().st_size]
            change = random.choice((spool_faults.turn_bit, spool_faults.cut))
            change(random.choice(spoilt), random)
            return tokens
    return []


def _logs_of(path: Path) -> list[Path]:
    return [
        each
        for each in sorted(path.parent.iterdir())
        if STORAGE.is_log(each.name) and STORAGE.file_of(each.name) == path.name
    ]
