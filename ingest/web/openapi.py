"""The OpenAPI document: openapi.json, with the limits and options that this server runs with."""

from importlib.resources import files
from typing import Any

import orjson

from ingest import __version__
from ingest.web.figures import Figures


def document(figures: Figures) -> bytes:
    """Return the document as JSON."""
    text = files("ingest.web").joinpath("openapi.json").read_text(encoding="utf-8")
    for name, value in {**figures.words(), "version": __version__}.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    tree = orjson.loads(text)
    tree["components"]["schemas"]["EventName"]["maxLength"] = figures.event_name_chars_max
    batch = tree["paths"]["/events"]["post"]["requestBody"]["content"]["application/json"]
    batch["schema"]["maxItems"] = figures.batch_events_max
    if not figures.key_in_query:
        _leave_out_beacons(tree)
    if not figures.has_metrics:
        del tree["paths"]["/metrics"]
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2)


def _leave_out_beacons(tree: dict[str, Any]) -> None:
    """Take out what only `server.key_in_query` allows."""
    del tree["components"]["securitySchemes"]["keyInQuery"]
    post = tree["paths"]["/event"]["post"]
    post["security"].remove({"keyInQuery": []})
    del post["requestBody"]["content"]["text/plain"]
