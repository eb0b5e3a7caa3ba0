"""Configuration: config.toml, then NONITO_<SECTION>_<KEY>, then flags, into frozen structs.

Every limit of the server lives here. An unknown key or an impossible value is one clear line, and
the server does not start: a misspelt limit that silently keeps its default is worse than no limit.
An empty value is none: `NONITO_DATABASE_URL=` is what templates write for "not set".
"""

import itertools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from ingest import addresses, values
from ingest.addresses import EVERY_IPV4, EVERY_IPV6, Address, Tcp
from ingest.errors import StartupError

RETIRE_S: Final = 5.0
"""A worker that was replaced serves those who are connected for at least so long."""

INSIGHTS_END_S: Final = 5.0
"""So long the insights process takes at most to end; what it does then it can do again."""

KIB = 1024
MIB = 1024 * KIB

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


Protocol = Literal["segment", "posthog", "amplitude", "openpanel", "umami"]
"""What other SDKs speak; Segment's is RudderStack's as well."""


class Server(msgspec.Struct, frozen=True):
    """`[server]`: where it listens and how it stops."""

    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, msgspec.Meta(ge=0, le=256)] | Literal["auto"] = "auto"
    listen: list[str] = []
    unix_mode: str = "0660"
    unix_owner: str = ""
    fast_lane: bool = True
    key_in_query: bool = False
    protocols: list[Protocol] = msgspec.field(default_factory=lambda: [*get_args(Protocol)])
    """Whose SDKs may send here."""
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 0.0
    shutdown_timeout_s: Seconds = 20.0

    @property
    def addresses(self) -> list[Address]:
        """Where it listens: at `listen`, or else at `host` and `port`; raise ValueError."""
        return addresses.parse_all(self.listen) if self.listen else [Tcp(self.host, self.port)]


class Database(msgspec.Struct, frozen=True):
    """`[database]`: which Postgres; an empty `url` means the embedded one in `data_dir`."""

    url: str = ""
    data_dir: str = "data"
    connect_timeout_s: Seconds = 2.0
    start_timeout_s: Seconds = 30.0


class Limits(msgspec.Struct, frozen=True):
    """`[limits]`: what one client may ask of the server."""

    body_bytes_max: Bytes = MIB
    bodies_bytes_max: Bytes = 64 * MIB
    batch_events_max: Count = 10_000
    batch_bytes_max: Bytes = 16 * MIB
    event_name_chars_max: Count = 255
    connections_max: Count = 10_000
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 75.0


class Queue(msgspec.Struct, frozen=True):
    """`[queue]`: how much may wait in memory for Postgres."""

    events_max: Count = 100_000
    bytes_max: Bytes = 64 * MIB


class Writer(msgspec.Struct, frozen=True):
    """`[writer]`: how batches are committed."""

    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    batch_events_max: Count = 5_000
    batch_bytes_max: Bytes = 8 * MIB
    commit_timeout_s: Seconds = 5.0


class Spool(msgspec.Struct, frozen=True):
    """`[spool]`: where events wait on disk while Postgres is away."""

    enabled: bool = True
    path: str = "data/spool"
    bytes_max: Bytes = 1024 * MIB
    free_bytes_min: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 256 * MIB
    timeout_s: Seconds = 5.0


class Events(msgspec.Struct, frozen=True):
    """`[events]`: how the events table is partitioned, and how long events are kept in it."""

    partition_by: Literal["month", "week", "day"] = "month"
    partitions_ahead: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    past_partitions_per_hour_max: Annotated[int, msgspec.Meta(ge=0, le=2000)] = 300
    retain_days: Annotated[int, msgspec.Meta(ge=0, le=36_525)] = 0
    """0 keeps all; so it is with apps that have nothing of their own."""
    timestamp_past_days_max: Annotated[int, msgspec.Meta(ge=0, le=36_525)] = 1826
    timestamp_future_s_max: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 86_400.0


class Keys(msgspec.Struct, frozen=True):
    """`[keys]`: how the API keys in memory follow the database, and where the first one is put."""

    poll_interval_s: Seconds = 5.0
    first_key_file: str = ""


class Archive(msgspec.Struct, frozen=True):
    """`[archive]`: the columnar copy of the events that questions are asked of."""

    enabled: bool = True
    path: str = "data/archive"
    interval_s: Seconds = 60.0
    retain_days: Annotated[int, msgspec.Meta(ge=-1, le=36_525)] = -1
    """As long as Postgres for -1; 0 keeps all."""
    memory_max: Annotated[int, msgspec.Meta(ge=64 * MIB, le=1 << 40)] = 256 * MIB
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1


class Dashboard(msgspec.Struct, frozen=True):
    """`[dashboard]`: where questions are answered, apart from where events arrive."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 8081
    ingest_url: str = ""
    """Where events are sent to, as clients reach it; empty: this server's port at the host that a
    page is asked for at."""
    trusted_proxies: list[str] = []
    """Networks of proxies that say in X-Forwarded-For whom they speak for."""
    question_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    questions_per_minute_max: Count = 60
    question_threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    """Of each question; 0: one for each core, four at most."""
    question_memory_max: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 0
    """Of each question, in bytes; what does not fit is on disk. 0: a sixteenth of what there is."""


class Monitoring(msgspec.Struct, frozen=True):
    """`[metrics]`: an address of its own for `/metrics`; port 0 means the server's."""

    host: str = "127.0.0.1"
    port: Port = 0


class Log(msgspec.Struct, frozen=True):
    """`[log]`: how much is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    requests: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class Config(msgspec.Struct, frozen=True):
    """The whole configuration; lower layers are handed values of it, never the whole."""

    server: Server = Server()
    database: Database = Database()
    limits: Limits = Limits()
    queue: Queue = Queue()
    writer: Writer = Writer()
    spool: Spool = Spool()
    events: Events = Events()
    keys: Keys = Keys()
    archive: Archive = Archive()
    dashboard: Dashboard = Dashboard()
    metrics: Monitoring = Monitoring()
    log: Log = Log()


Overrides = Mapping[str, object]
"""Values by their dotted key, for example `{"server.port": 80}`."""

SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: type(field.default) for field in msgspec.structs.fields(Config)
}
FIELDS: dict[str, Any] = {
    f"{section}.{field.name}": field.type
    for section, struct in SECTIONS.items()
    for field in msgspec.structs.fields(struct)
}
ENVIRONMENT: dict[str, str] = {f"NONITO_{key.replace('.', '_').upper()}": key for key in FIELDS} | {
    "DATABASE_URL": "database.url"
}
_MODE: Final = re.compile(r"(0o?)?[0-7]{3}")
_HOSTS_BESIDE_LISTEN: Final = (Server().host, EVERY_IPV4, EVERY_IPV6)
"""What may stand beside `server.listen`, as nobody has chosen it: containers' images say so."""
_INGEST_URL: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]/~-]+")
"""It stands in lines of code that people copy."""
_LIKENESS_MIN = 0.8  # names of one section are rather alike as it is
RESERVED_ENVIRONMENT = {"NONITO_CONFIG", "NONITO_READ_KEY"}
"""Ours, and no settings: the second is of `nonito query`."""
# What Kubernetes tells every container of a Service named `nonito`, or `nonito-` and anything.
_SERVICE_NAME: Final = re.compile(
    r"NONITO_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SERVICE_PORT: Final = re.compile(r"(tcp|udp|sctp)://.*")


def load(path: Path | None, environment: Mapping[str, str], flags: Overrides) -> Config:
    """Build the configuration; raise StartupError with one line that names the key at fault.

    `path` None means ./config.toml if there is one. NONITO_DATABASE_URL wins over DATABASE_URL.
    """
    found: dict[str, object] = {}
    for source, (key, value) in (
        *_read_file(path or _default_path(environment)),
        *_read_environment(environment),
        *(("flag", item) for item in flags.items()),
    ):
        if key not in FIELDS:
            raise StartupError(f"{source}: {key} is no setting{_hint(key, FIELDS)}")
        if (given := _strip(value)) != "":
            found[key] = _convert(source, key, given)
    sections = {name: struct(**_of_section(found, name)) for name, struct in SECTIONS.items()}
    config = msgspec.convert(sections, Config)
    _check_relations(config)
    return config


def _default_path(environment: Mapping[str, str]) -> Path | None:
    if name := environment.get("NONITO_CONFIG", "").strip():
        return Path(name)
    path = Path("config.toml")
    return path if path.exists() else None


def _read_file(path: Path | None) -> Iterator[tuple[str, tuple[str, object]]]:
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartupError(f"{path}: {error}") from error
    for section, table in document.items():
        if section not in SECTIONS:
            raise StartupError(f"{path}: [{section}] is no section{_hint(section, SECTIONS)}")
        if not isinstance(table, dict):
            raise StartupError(f"{path}: {section} must be a section, written [{section}]")
        for key, value in table.items():
            yield str(path), (f"{section}.{key}", value)


def _read_environment(
    environment: Mapping[str, str],
) -> Iterator[tuple[str, tuple[str, object]]]:
    # Sorted, so that NONITO_DATABASE_URL comes after DATABASE_URL and wins.
    for name, value in sorted(environment.items()):
        if not value.strip() or _is_of_a_service(name, value):
            continue
        if name in ENVIRONMENT:
            yield name, (ENVIRONMENT[name], value)
        elif name.startswith("NONITO_") and name not in RESERVED_ENVIRONMENT:
            raise StartupError(f"{name}: unknown setting{_hint(name, ENVIRONMENT)}")


def _is_of_a_service(name: str, value: str) -> bool:
    """Whether Kubernetes has set a variable; NONITO_SERVER_PORT is ours, unless it is a URL."""
    is_port = name.startswith("NONITO_") and name.endswith("_PORT")
    return bool(
        _SERVICE_NAME.fullmatch(name) or (is_port and _SERVICE_PORT.fullmatch(value.strip()))
    )


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _convert(source: str, key: str, value: object) -> object:
    kind = FIELDS[key]
    try:
        if isinstance(value, str):
            return msgspec.convert(values.read(value, key, kind), kind, strict=False)
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        told = values.allowed(key, kind)
        reason = f"{error}; {told}" if told else str(error)
        raise StartupError(f"{source}: {key} = {_shown(key, value)}: {reason}") from error


def _shown(key: str, value: object) -> str:
    return "…" if key == "database.url" else repr(value)


def _hint(name: str, known: Mapping[str, object]) -> str:
    import difflib  # noqa: PLC0415 - 0.1 MB, of the supervisor too

    close = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS_MIN)
    return f"; did you mean {close[0]}?" if close else "; see config.toml for all settings"


def _of_section(values: Mapping[str, object], section: str) -> dict[str, Any]:
    prefix = f"{section}."
    return {key[len(prefix) :]: value for key, value in values.items() if key.startswith(prefix)}


def _check_relations(config: Config) -> None:
    """Refuse limits that contradict each other, for example a queue that no event fits into."""
    relations = (
        ("limits.body_bytes_max", config.limits.body_bytes_max),
        ("writer.batch_bytes_max", config.writer.batch_bytes_max),
        ("queue.bytes_max", config.queue.bytes_max),
    )
    for (small, low), (large, high) in itertools.pairwise(relations):
        if low > high:
            raise StartupError(f"{small} ({low}) must not be larger than {large} ({high})")
    if config.writer.batch_events_max > config.queue.events_max:
        raise StartupError("writer.batch_events_max must not be larger than queue.events_max")
    if config.writer.commit_timeout_s >= config.server.shutdown_timeout_s:
        raise StartupError("writer.commit_timeout_s must be below server.shutdown_timeout_s")
    if config.dashboard.ingest_url and not _INGEST_URL.fullmatch(config.dashboard.ingest_url):
        raise StartupError(
            "dashboard.ingest_url: write an address such as https://events.example.com"
        )
    try:
        addresses.networks(config.dashboard.trusted_proxies)
    except ValueError as error:
        raise StartupError(f"dashboard.trusted_proxies: {error}") from None
    _check_listen(config.server)


def _check_listen(server: Server) -> None:
    """Refuse addresses that are mistakes as they stand; whether they can be had the start sees."""
    try:
        _ = server.addresses
    except ValueError as error:
        raise StartupError(f"server.listen: {error}") from None
    if not _MODE.fullmatch(server.unix_mode):
        raise StartupError(
            f"server.unix_mode = {server.unix_mode!r}: write permissions as chmod has them, as 0660"
        )
    if not server.listen:
        return
    for name, value, silent in (
        ("host", server.host, _HOSTS_BESIDE_LISTEN),
        ("port", server.port, (Server().port,)),
    ):
        if value not in silent:
            raise StartupError(
                f"server.listen says where to listen, and so does server.{name} = {value!r}: "
                f"leave out one of them, or add the other address to server.listen"
            )


def from_process(path: Path | None, flags: Overrides) -> Config:
    """Build the configuration from this process's environment."""
    return load(path, os.environ, flags)
