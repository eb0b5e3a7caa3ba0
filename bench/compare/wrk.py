"""wrk as the sender of a closed loop: a C program, for a tenth of what our own client costs.

Its requests are all the same bytes, and it keeps no ids: what it got is audited by what is stored
(`wrk_audit`). Its latencies are its own: where a request took longer than a connection's average,
it adds those that would have been sent meanwhile.
"""

import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench import cores, machine
from bench.errors import BenchError
from bench.load.forms import SINGLE
from bench.load.payloads import Payload
from bench.servers import Endpoint

PROGRAM: Final = "wrk"
TIMEOUT_S: Final = 10
_GRACE_S: Final = 30.0
_MARK: Final = b"nonito-bench "
_DONE: Final = """
function done(summary, latency, requests)
  local e = summary.errors
  local us = function(percent) return latency:percentile(percent) / 1000 end
  io.write(string.format(
    '\\nnonito-bench {"requests":%d,"seconds":%.6f,"connect":%d,"read":%d,"write":%d,' ..
    '"timeout":%d,"status":%d,"latency_ms":{"p50":%.3f,"p90":%.3f,"p99":%.3f,"p99.9":%.3f,' ..
    '"max":%.3f}}\\n',
    summary.requests, summary.duration / 1e6, e.connect, e.read, e.write, e.timeout, e.status,
    us(50), us(90), us(99), us(99.9), latency.max / 1000))
end
"""


@dataclass(frozen=True)
class Shot:
    """What wrk is to send, and where it is to run."""

    endpoint: Endpoint
    key: str
    payload: Payload
    connections: int
    cores: frozenset[int] = frozenset()


class Said(msgspec.Struct, frozen=True):
    """What wrk said at the end."""

    requests: int
    """Answers, of whatever status."""
    seconds: float
    connect: int
    read: int
    write: int
    timeout: int
    status: int
    """Answers of 400 and above."""
    latency_ms: dict[str, float]

    @property
    def faults(self) -> list[str]:
        """Return what went wrong."""
        kinds = {
            "connections that failed": self.connect,
            "answers that could not be read": self.read,
            "requests that could not be written": self.write,
            f"answers after more than {TIMEOUT_S} s": self.timeout,
            "answers of 400 and above": self.status,
        }
        found = [f"{n} {kind}" for kind, n in kinds.items() if n]
        return found if self.requests else [*found, "no answers"]


@dataclass(frozen=True)
class Sent:
    """A finished run."""

    said: Said
    cpu_s: float
    core_busy: float
    """Which share of the time the core that sent was busy, 0 to 1."""


def is_installed() -> bool:
    """Return whether there is a wrk to run."""
    return shutil.which(PROGRAM) is not None


def run(shot: Shot, seconds: float) -> Sent:
    """Send for so long, in whole seconds and at least one; raise BenchError."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "post.lua"
        path.write_text(script(shot.key, shot.payload.body), encoding="ascii")
        before, cpu_s = cores.sample(shot.cores), _children_cpu_s()
        with machine.pinned(shot.cores or machine.all_cores()):
            output = _call(shot, path, max(1, round(seconds)))
        cpu_s = _children_cpu_s() - cpu_s
        said = parse(output)
    # Of several cores it uses one at a time, and not always the same one.
    busy = max(cores.busiest(before, cores.sample(shot.cores)), cpu_s / said.seconds)
    return Sent(said, cpu_s, min(busy, 1.0))


def script(key: str, body: bytes) -> str:
    """Return the Lua program that says what to send, and prints what came of it as JSON."""
    headers = {"X-API-Key": key} | SINGLE.headers
    lines = [
        'wrk.method = "POST"',
        f"wrk.path = {_quoted(SINGLE.path.encode())}",
        *(
            f"wrk.headers[{_quoted(name.encode())}] = {_quoted(value.encode())}"
            for name, value in headers.items()
        ),
        f"wrk.body = {_quoted(body)}",
    ]
    return "\n".join(lines) + _DONE


def parse(output: bytes) -> Said:
    """Return what the script printed; raise BenchError."""
    said = output.rpartition(_MARK)[2]
    try:
        return msgspec.json.decode(said, type=Said)
    except msgspec.DecodeError as error:
        raise BenchError(f"wrk said nothing to read: {output[-500:]!r}") from error


def _call(shot: Shot, path: Path, seconds: int) -> bytes:
    endpoint = shot.endpoint
    arguments = (
        f"--threads=1 --connections={shot.connections} --duration={seconds}s"
        f" --timeout={TIMEOUT_S}s --script={path} http://{endpoint.host}:{endpoint.port}{SINGLE.path}"
    )
    try:
        ended = subprocess.run(  # noqa: S603 - a program of the user's own machine
            [PROGRAM, *arguments.split()],
            capture_output=True,
            check=False,
            timeout=seconds + _GRACE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"wrk: {error}") from error
    if ended.returncode != 0:
        raise BenchError(f"wrk failed: {ended.stderr.decode(errors='replace').strip()}")
    return ended.stdout


def _quoted(text: bytes) -> str:
    """Return a Lua string of any bytes."""
    return '"' + "".join(f"\\{byte:03}" for byte in text) + '"'


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
