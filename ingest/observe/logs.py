"""Logs on standard error: readable in a terminal, one JSON object a line elsewhere.

No line holds a key or a payload. No request writes one, or so many a second at most where the
operator asks for it: a client can't fill a disk.
"""

import logging
import sys
from typing import Literal

import structlog


def configure(level: str, form: Literal["auto", "text", "json"], worker: int | None = None) -> None:
    """Send this process's logs, the libraries' too, to standard error; each says which worker."""

    def name_worker(
        _: object, __: str, line: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return line if worker is None else {"worker": worker, **line}

    shared: list[structlog.typing.Processor] = [
        name_worker,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(is_json=form == "json" or (form == "auto" and not sys.stderr.isatty())),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Have this process log from a level on."""
    logging.getLogger().setLevel(level.upper())


def _put_first(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = {name: line.pop(name) for name in ("timestamp", "level", "message") if name in line}
    return {**first, **line}


def _renderers(*, is_json: bool) -> list[structlog.typing.Processor]:
    if is_json:
        return [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _put_first,
            structlog.processors.JSONRenderer(),
        ]
    # The default prints the variables of every frame, keys and payloads too, where rich is there.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
