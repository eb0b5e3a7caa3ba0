"""The OpenAPI document of the query API."""

from importlib.resources import files
from typing import Any

import orjson

from ingest import __version__


def document() -> bytes:
    """Return the document as JSON."""
    text = files("ingest.api").joinpath("openapi.json").read_text(encoding="utf-8")
    tree: Any = orjson.loads(text.replace("{{version}}", __version__))
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)
