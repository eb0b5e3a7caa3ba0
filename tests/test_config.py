"""Configuration: the shipped file holds the defaults, and a mistake is one line that names it."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from ingest import config
from ingest.config import Config
from ingest.errors import StartupError
from tests.support.configuration import NO_FILE, refusal
from tests.support.server import ROOT

SHIPPED = ROOT / "config.toml"
SECRET = "hunter2"


def flat(sections: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return values by their dotted key."""
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }


def written(value: object) -> str:
    """Return a value as a text that means it."""
    return ", ".join(value) if isinstance(value, list) else str(value)


def test_shipped_file_holds_every_setting_with_its_true_default() -> None:
    """No setting is left out, none is invented, none has another value."""
    shipped = flat(tomllib.loads(SHIPPED.read_text()))
    defaults = flat(msgspec.to_builtins(Config()))
    assert shipped == defaults
    assert {key: type(value) for key, value in shipped.items()} == {
        key: type(value) for key, value in defaults.items()
    }


def test_shipped_file_explains_every_setting() -> None:
    """Each line with a value ends in a comment."""
    lines = [line for line in SHIPPED.read_text().splitlines() if re.match(r"\w+ *=", line)]
    assert len(lines) == len(config.FIELDS)
    assert [line for line in lines if not re.search(r"# .{10,}", line)] == []


def test_shipped_file_loads_as_the_defaults() -> None:
    """So does no file at all, and an empty one."""
    assert config.load(SHIPPED, {}, {}) == config.load(NO_FILE, {}, {}) == Config()


def test_environment_wins_over_the_file_and_flags_over_both(file: Path) -> None:
    """And what one source leaves out the one below it gives."""
    file.write_text("[server]\nhost = 'file'\nport = 1\nshutdown_timeout_s = 11\n")
    environment = {"NONITO_SERVER_HOST": "env", "NONITO_SERVER_PORT": "2"}
    server = config.load(file, environment, {"server.port": 3}).server
    assert (server.host, server.port, server.shutdown_timeout_s) == ("env", 3, 11.0)


@pytest.mark.parametrize("key", config.FIELDS)
def test_every_setting_can_be_set_by_its_environment_variable(key: str) -> None:
    """NONITO_<SECTION>_<KEY>, as text."""
    default = flat(msgspec.to_builtins(Config()))[key]
    value = {
        "archive.enabled": "False",
        "archive.memory_max": "77777777",
        "dashboard.enabled": "False",
        "dashboard.ingest_url": "https://events.example.com",
        "dashboard.trusted_proxies": "10.0.0.0/8, ::1",
        "events.partition_by": "week",
        "log.level": "debug",
        "log.format": "json",
        "server.fast_lane": "False",
        "server.listen": ":1, unix:/run/x",
        "server.unix_mode": "0600",
        "server.workers": "7",
        "server.key_in_query": "True",
        "server.protocols": "segment, umami",
        "spool.enabled": "False",
    }.get(key, "7" if isinstance(default, int | float) else "text")
    # Limits that depend on each other are kept in order.
    roomy = {"NONITO_LIMITS_BODY_BYTES_MAX": "7", "NONITO_WRITER_BATCH_BYTES_MAX": "7"}
    roomy |= {"NONITO_WRITER_BATCH_EVENTS_MAX": "7", "NONITO_WRITER_COMMIT_TIMEOUT_S": "1"}
    name = f"NONITO_{key.replace('.', '_').upper()}"
    if key == "writer.commit_timeout_s":
        roomy["NONITO_SERVER_SHUTDOWN_TIMEOUT_S"] = "8"
    loaded = config.load(NO_FILE, roomy | {name: value}, {})
    assert written(flat(msgspec.to_builtins(loaded))[key]) in (value, f"{value}.0")
    assert value != written(default)


def test_database_url_is_taken_from_either_variable() -> None:
    """DATABASE_URL as everybody sets it; ours wins; both win over the file."""
    ours, common = "NONITO_DATABASE_URL", "DATABASE_URL"

    def url(environment: Mapping[str, str]) -> str:
        return config.load(NO_FILE, environment, {}).database.url

    assert url({common: "common"}) == "common"
    assert url({ours: "ours"}) == "ours"
    assert url({common: "common", ours: "ours"}) == "ours"
    assert url({ours: "ours", common: "common"}) == "ours"


@pytest.mark.parametrize("nothing", ["", " ", "\t\n"])
def test_empty_value_is_none(nothing: str, file: Path) -> None:
    """Whoever writes `NONITO_DATABASE_URL=` has set nothing: the source below it holds."""
    ours, common, url = "NONITO_DATABASE_URL", "DATABASE_URL", "postgresql://h/d"

    def loaded(environment: Mapping[str, str], text: str, **flags: object) -> Config:
        file.write_text(text)
        return config.load(file, environment, {"database.url": flags.get("url", "")})

    in_file = f"[database]\nurl = '{url}'"
    assert loaded({ours: nothing, common: url}, "").database.url == url
    assert loaded({ours: nothing, common: nothing}, in_file).database.url == url
    assert loaded({ours: url}, "", url=nothing).database.url == url
    everything = dict.fromkeys(config.ENVIRONMENT, nothing) | {"NONITO_XYZZY": nothing}
    assert loaded(everything, "[server]\nhost = ' '\n[spool]\npath = ''") == Config()


def test_unknown_setting_is_refused_also_when_it_is_empty_in_the_file(file: Path) -> None:
    """It was written by hand."""
    assert "server.prot" in refusal(file, "[server]\nprot = ''")


@pytest.mark.parametrize("key", config.FIELDS)
def test_white_space_around_a_value_is_not_part_of_it(key: str) -> None:
    """As a file that is mounted, or a pipe through `echo`, leaves behind."""
    value = flat(msgspec.to_builtins(Config()))[key]
    name = f"NONITO_{key.replace('.', '_').upper()}"
    known = {"dashboard.ingest_url": "http://a:1", "dashboard.trusted_proxies": "::1"}
    text = written(value) or known.get(key, ":1")
    plain = config.load(NO_FILE, {name: text}, {})
    assert config.load(NO_FILE, {name: f" \t{text}\r\n"}, {}) == plain


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("server.fast_lane", "no", False),
        ("server.fast_lane", "OFF", False),
        ("server.fast_lane", "0", False),
        ("server.key_in_query", "yes", True),
        ("server.key_in_query", "On", True),
        ("server.key_in_query", "TRUE", True),
        ("server.port", "80", 80),
        ("log.level", "WARNING", "warning"),
        ("events.partition_by", "Week", "week"),
        ("spool.bytes_max", "2GiB", 2 << 30),
        ("archive.memory_max", "1GiB", 1 << 30),
        ("spool.bytes_max", "2 gib", 2 << 30),
        ("spool.bytes_max", "1.5Gi", 3 << 29),
        ("spool.bytes_max", "2GB", 2_000_000_000),
        ("spool.free_bytes_min", "0B", 0),
        ("limits.body_bytes_max", "512kB", 512_000),
        ("limits.body_bytes_max", "512KiB", 512 << 10),
        ("limits.idle_timeout_s", "30s", 30.0),
        ("limits.idle_timeout_s", "5m", 300.0),
        ("limits.idle_timeout_s", "1.5h", 5400.0),
        ("spool.timeout_s", "100ms", 0.1),
        ("events.timestamp_future_s_max", "7d", 604_800.0),
        ("events.timestamp_past_days_max", "30d", 30),
        (
            "server.listen",
            "[::1]:80 :81,unix:/run/x , h:0",
            ["[::1]:80", ":81", "unix:/run/x", "h:0"],
        ),
        ("server.unix_mode", "0o600", "0o600"),
    ],
)
def test_value_may_be_written_as_people_write_it(
    key: str, text: str, value: object, file: Path
) -> None:
    """In the environment, and between quotes in the file."""
    section, _, name = key.partition(".")
    file.write_text(f"[{section}]\n{name} = '{text}'\n")
    variable = f"NONITO_{section}_{name}".upper()
    for loaded in (config.load(NO_FILE, {variable: text}, {}), config.load(file, {}, {})):
        found = flat(msgspec.to_builtins(loaded))[key]
        assert (found, type(found)) == (value, type(value))


def injected(service: str) -> dict[str, str]:
    """Return what Kubernetes sets in every container of a namespace for a Service of two ports."""
    prefix = service.upper().replace("-", "_")
    ports = {
        f"{prefix}_PORT_{port}_{protocol}{suffix}": value
        for port, protocol in ((8080, "TCP"), (9100, "UDP"))
        for suffix, value in (
            ("", f"{protocol.lower()}://10.0.0.9:{port}"),
            ("_PROTO", protocol.lower()),
            ("_PORT", str(port)),
            ("_ADDR", "10.0.0.9"),
        )
    }
    return ports | {
        f"{prefix}_SERVICE_HOST": "10.0.0.9",
        f"{prefix}_SERVICE_PORT": "8080",
        f"{prefix}_SERVICE_PORT_HTTP": "8080",
        f"{prefix}_SERVICE_PORT_ADMIN_UDP": "9100",
        f"{prefix}_PORT": "tcp://10.0.0.9:8080",
    }


@pytest.mark.parametrize(
    "service", ["nonito", "nonito-events", "nonito-server", "nonito-database", "nonito-x-y"]
)
def test_variables_that_kubernetes_sets_for_a_service_are_no_settings(service: str) -> None:
    """Of a Service of our name; a port of its own beside them is one, for `nonito-server` too."""
    assert config.load(NO_FILE, injected(service), {}) == Config()
    own = {"NONITO_SERVER_HOST": "::", "NONITO_DATABASE_URL": "postgresql://h/d"}
    assert config.load(NO_FILE, injected(service) | own, {}).server.host == "::"
    if service != "nonito-server":
        ours = injected(service) | {"NONITO_SERVER_PORT": "9"}
        assert config.load(NO_FILE, ours, {}).server.port == 9


def test_file_is_found_in_the_working_directory_or_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """./config.toml if there is one; NONITO_CONFIG wins over it; a path given wins over both."""
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {}, {}) == Config()
    for name, port in (("config.toml", 1), ("other.toml", 2), ("given.toml", 3)):
        (tmp_path / name).write_text(f"[server]\nport = {port}\n")
    other = {"NONITO_CONFIG": "other.toml"}
    assert config.load(None, {}, {}).server.port == 1
    assert config.load(None, other, {}).server.port == 2
    assert config.load(tmp_path / "given.toml", other, {}).server.port == 3


@pytest.mark.parametrize(
    ("text", "named", "suggested"),
    [
        ("[server]\nprot = 1", "server.prot", "server.port"),
        ("[limit]\nbody_bytes_max = 1", "[limit]", "limits"),
        ("[queue]\nevents = 1", "queue.events", "queue.events_max"),
        ("[elsewhere]\nxyzzy = 1", "[elsewhere]", "config.toml"),
        ("[server]\nxyzzy = 1", "server.xyzzy", "config.toml"),
        ("port = 1", "[port]", "config.toml"),
        ("server = 1", "server", "[server]"),
        ("[server.tls]\nx = 1", "server.tls", "config.toml"),
    ],
)
def test_unknown_setting_in_the_file_is_one_line_that_names_it(
    file: Path, text: str, named: str, suggested: str
) -> None:
    """And suggests what was meant, or where to look."""
    message = refusal(file, text)
    assert str(file) in message
    assert named in message
    assert suggested in message


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("NONITO_SERVER_PROT", "NONITO_SERVER_PORT"),
        ("NONITO_RETENTION", "config.toml"),
        ("NONITO_PORT", "config.toml"),
        ("NONITO_SERVICES_HOST", "NONITO_SERVER_HOST"),
        ("NONITO_XYZZY", "config.toml"),
        ("NONITO_server_port", "config.toml"),
    ],
)
def test_unknown_variable_is_one_line_that_names_it(file: Path, name: str, suggested: str) -> None:
    """A misspelt variable does not silently keep the default."""
    message = refusal(file, "", {name: "1"})
    assert name in message
    assert suggested in message.replace(name, "")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("server", "port", "true"),
        ("server", "port", "'8o'"),
        ("server", "port", "80.5"),
        ("server", "port", "65536"),
        ("server", "port", "-1"),
        ("server", "host", "80"),
        ("server", "host", "['a']"),
        ("server", "shutdown_timeout_s", "0"),
        ("server", "shutdown_timeout_s", "nan"),
        ("server", "shutdown_timeout_s", "inf"),
        ("server", "shutdown_timeout_s", "-1.5"),
        ("limits", "body_bytes_max", "0"),
        ("limits", "connections_max", "100_000_000"),
        ("writer", "connections", "0"),
        ("writer", "connections", "65"),
        ("events", "partition_by", "'year'"),
        ("events", "partitions_ahead", "0"),
        ("server", "fast_lane", "1"),
        ("server", "fast_lane", "'perhaps'"),
        ("spool", "bytes_max", "'1G'"),
        ("spool", "bytes_max", "'0.3B'"),
        ("spool", "timeout_s", "'30 apples'"),
        ("queue", "events_max", "'10s'"),
        ("log", "level", "'loud'"),
    ],
)
def test_impossible_value_is_one_line_that_names_the_setting(
    file: Path, section: str, key: str, value: str
) -> None:
    """A wrong type, a value out of range, not a number: from the file."""
    message = refusal(file, f"[{section}]\n{key} = {value}\n")
    assert str(file) in message
    assert f"{section}.{key} = " in message


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("NONITO_SERVER_PORT", "8o", "server.port"),
        ("NONITO_SERVER_PORT", "10.0.0.9:8080", "server.port"),
        ("NONITO_SPOOL_BYTES_MAX", "1" * 400 + "GiB", "spool.bytes_max"),
        ("NONITO_SERVER_PORT", "65536", "server.port"),
        ("NONITO_WRITER_COMMIT_TIMEOUT_S", "nan", "writer.commit_timeout_s"),
        ("NONITO_QUEUE_EVENTS_MAX", "10.5", "queue.events_max"),
        ("NONITO_LOG_FORMAT", "xml", "log.format"),
    ],
)
def test_impossible_value_in_a_variable_is_one_line_that_names_both(
    file: Path, name: str, value: str, key: str
) -> None:
    """The variable where it stands, and the setting that it is."""
    message = refusal(file, "", {name: value})
    assert message.startswith(f"{name}: {key} = {value!r}")


def test_value_of_a_closed_set_is_told_with_the_set(file: Path) -> None:
    """What may be written stands in the message."""
    assert refusal(file, "[events]\npartition_by = 'year'").endswith("one of month, week, day")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[limits]\nbody_bytes_max = 9_000_000", ("limits.body_bytes_max", "writer.batch_bytes")),
        ("[queue]\nbytes_max = 8_000_000", ("queue.bytes_max", "writer.batch_bytes_max")),
        ("[queue]\nevents_max = 4999", ("queue.events_max", "writer.batch_events_max")),
        ("[server]\nshutdown_timeout_s = 5", ("server.shutdown_timeout_s", "commit_timeout_s")),
    ],
)
def test_limits_that_contradict_each_other_are_one_line_that_names_both(
    file: Path, text: str, named: tuple[str, str]
) -> None:
    """For example a queue that not one batch fits into."""
    message = refusal(file, text)
    assert named[0] in message
    assert named[1] in message


@pytest.mark.parametrize("text", ["[server\n", "[server]\nport =\n", "\0", "[a]\n[a]\n"])
def test_malformed_file_is_one_line_that_names_it(file: Path, text: str) -> None:
    """With the place, where the parser knows it."""
    assert str(file) in refusal(file, text)


def test_file_that_can_not_be_read_is_one_line_that_names_it(tmp_path: Path, file: Path) -> None:
    """Not there, a directory, not UTF-8."""
    file.write_bytes(b"\xff")
    for path in (tmp_path / "none.toml", tmp_path, file):
        with pytest.raises(StartupError, match=re.escape(str(path))):
            config.load(path, {}, {})


@pytest.mark.parametrize(
    "text",
    [
        f"[database]\nurl = ['postgresql://u:{SECRET}@h/d']",
        f"[database]\nurl = postgresql://u:{SECRET}@h/d",
        f"[database]\nurl = 'postgresql://u:{SECRET}@h/d'\nport = 1",
        f"[database]\nurl = {{ password = '{SECRET}' }}",
    ],
)
def test_password_of_the_database_is_in_no_message(file: Path, text: str) -> None:
    """Whatever is wrong with the URL, or beside it."""
    assert SECRET not in refusal(file, text)
