"""Fields as people write them: `name`, `person`, `params.plan`, `params.cart."unit.price"`."""

import re
from typing import Final

from ingest.insights.errors import BadQuestion
from ingest.insights.questions import PERSON, Path

_KEY: Final = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def read(text: str) -> Path:
    """Return the path that a text means; a key with a dot or a quote is in quotes, doubled within.

    Raises BadQuestion for what is none.
    """
    path = tuple(_keys(text))
    if path in (("name",), PERSON) or (len(path) > 1 and path[0] == "params"):
        return path
    raise BadQuestion(f"{text!r} is no field: there are name, person and params.KEY")


def write(path: Path) -> str:
    """Return the text that `read` makes the path of."""
    return ".".join(key if _is_plain(key) else '"' + key.replace('"', '""') + '"' for key in path)


def _is_plain(key: str) -> bool:
    return bool(key) and not set(key) & {".", '"', ":", "|"}


def _keys(text: str) -> list[str]:
    keys, position = [], 0
    while match := _KEY.match(text, position):
        quoted, plain = match.groups()
        keys.append(plain if quoted is None else quoted.replace('""', '"'))
        position = match.end() + 1
        if text[match.end() : position] != ".":
            break
    if position <= len(text):
        raise BadQuestion(f'{text!r} is no field: write a key with dots or quotes as "a.b"')
    return keys
