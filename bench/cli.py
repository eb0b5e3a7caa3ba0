"""The commands of `python -m bench`: load, compare, alloc, idle, hostile, fuzz and the others."""

import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from bench import database, machine, payloads, report
from bench import load as loading
from bench import sender as senders
from bench.audit.command import audit
from bench.crew import Job, Run
from bench.errors import BenchError
from bench.load import Place, Site
from bench.outage_command import outage
from bench.verify import Books
from ingest.observe import logs

_VOID_EXIT_CODE = 3
_WIDTH = 140


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def command() -> None:
    """Measure the event server on your own machine.

    Each command works without arguments: it starts a temporary Postgres with durable default
    settings, and the server on a core of its own. bench/README.md says how to read the figures.
    """


@command.command()
@click.option("--url", help="A running server's address. Default: start one.")
@click.option("--key", help="Its API key. Default: make one in the database.")
@click.option("--database-url", help="Its Postgres. Default: a temporary one.")
@click.option("--connections", default=64, type=click.IntRange(1, 20_000), help="How many.")
@click.option(
    "--rate",
    default=0.0,
    type=click.FloatRange(0),
    help="Open loop: this many requests a second are due, whatever the server does, and latency "
    "counts from when each was due. 0: closed loop, each connection waits for its answer.",
)
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="How long to measure.")
@click.option("--warm-up", default=1.0, type=click.FloatRange(0), help="Seconds before that.")
@click.option("--processes", default=1, type=click.IntRange(1, 64), help="Of the load client.")
@click.option("--payload", default="example", help="'example', 'mix', or an NDJSON file of events.")
@click.option("--verify", is_flag=True, help="Compare with Postgres; a run that fails is void.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Draw a PNG here.")
def load(  # noqa: PLR0913 - one for each option
    *,
    url: str | None,
    key: str | None,
    database_url: str | None,
    connections: int,
    rate: float,
    seconds: float,
    warm_up: float,
    processes: int,
    payload: str,
    verify: bool,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Load a server with single POSTs, and say what it does."""
    console = _console()
    events = payloads.load(payload)
    with loading.site(Place(url, key, database_url)) as site:
        job = replace(
            loading.make_job(site, events),
            connections=connections,
            rate=rate,
            seconds=seconds,
            warm_up_s=warm_up,
            processes=processes,
        )
        run, books = _run(site, job, console, verify=verify)
    report.show(console, run, books)
    if json_path is not None:
        _write_json(json_path, report.as_json(run, books))
    if plot_path is not None:
        from bench import plots  # noqa: PLC0415 - matplotlib takes half a second

        plots.save_run(run, plot_path)
    if books is not None and not books.balance:
        sys.exit(_VOID_EXIT_CODE)


@command.command()
@click.option("--rounds", default=5, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each run.")
@click.option("--warm-up", default=1.0, type=click.FloatRange(0), help="Seconds before that.")
@click.option(
    "--connections", default=(64, 256), multiple=True, type=click.IntRange(1), help="Repeatable."
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this entry. Repeatable.")
@click.option(
    "--sender",
    default=senders.AUTO,
    type=click.Choice(senders.CHOICES),
    help="Of single POSTs. auto: wrk where it is installed, or else our own client.",
)
@click.option(
    "--out",
    default=Path("bench/results"),
    type=click.Path(path_type=Path, file_okay=False),
    help="Where compare.json and compare.png go.",
)
def compare(  # noqa: PLR0913 - one for each option
    *,
    rounds: int,
    seconds: float,
    warm_up: float,
    connections: tuple[int, ...],
    only: tuple[str, ...],
    sender: str,
    out: Path,
) -> None:
    """Run our server, its peers and its ceilings against each other, on this machine.

    Entries: ours-fast, ours-aiohttp, obvious, fastapi, aiohttp-fixed, uvloop-fixed, ours-batch,
    ours-batch-minimal, copy; and ours-batch-ndjson, by name only.
    """
    from bench import charts  # noqa: PLC0415 - matplotlib takes half a second
    from bench import compare as comparing  # noqa: PLC0415 - so that the client loads less
    from bench import findings as finding  # noqa: PLC0415

    console = _console()
    planned = comparing.plan(comparing.choose(only), rounds, connections)
    with comparing.arena(seconds, warm_up, senders.choose(sender)) as arena:
        settings = database.settings(arena.database_url)
        found = finding.Findings(comparing.measure(arena, planned, console), settings)
    finding.show(console, found)
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / "compare.json", found.as_json())
    charts.save(found.measured, out / "compare.png")
    console.print(f"saved {out / 'compare.json'} and {out / 'compare.png'}")
    if found.void_runs:
        sys.exit(_VOID_EXIT_CODE)


@command.command()
@click.option("--seconds", default=3.0, type=click.FloatRange(0.1), help="Of each load.")
@click.option("--connections", default=64, type=click.IntRange(1), help="Of each load.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
def alloc(*, seconds: float, connections: int, json_path: Path | None) -> None:
    """Count what a request allocates, leaves behind and peaks at, in each lane."""
    from bench import alloc as allocating  # noqa: PLC0415 - so that the client loads less

    console = _console()
    with console.status("counting"):
        found = allocating.measure(seconds, connections)
    allocating.show(console, found)
    if json_path is not None:
        _write_json(json_path, {"machine": machine.describe(), "lanes": msgspec.to_builtins(found)})


@command.command()
@click.option("--mutations", default=5_000_000, type=click.IntRange(1), help="How many heads.")
@click.option("--seed", default=None, type=int, help="Repeat a run. Default: a new one.")
@click.option("--processes", default=2, type=click.IntRange(1, 64), help="That share the work.")
def fuzz(*, mutations: int, seed: int | None, processes: int) -> None:
    """Try mutated heads on the fast lane and on aiohttp's parser: they must not differ."""
    from bench import fuzz as fuzzing  # noqa: PLC0415 - so that the client loads less

    console = _console()
    seed = secrets.randbits(32) if seed is None else seed
    with Progress(console=console) as progress:
        bar = progress.add_task(f"seed {seed}", total=mutations)
        result = fuzzing.run_many(
            mutations, seed, processes, lambda done: progress.advance(bar, done)
        )
    for head, difference in result.divergences:
        console.print(f"{head!r}\n  {difference}", style="red", markup=False)
    console.print(
        f"seed {seed}: {result.mutations:,} mutations, {result.accepted:,} taken by the fast lane, "
        f"{len(result.divergences)} divergences"
    )
    if result.divergences:
        sys.exit(1)


@command.command()
@click.option("--rounds", default=20, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=0.5, type=click.FloatRange(0.05), help="Of each side of each.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
def idle(*, rounds: int, seconds: float, json_path: Path | None) -> None:
    """Measure what one sender waits for on an idle server, beside a COPY of one row alone."""
    from bench import idle as idling  # noqa: PLC0415 - so that the client loads less

    console = _console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("measuring", total=rounds)
        found = idling.measure(rounds, seconds, lambda: progress.advance(bar))
    idling.show(console, found)
    if json_path is not None:
        _write_json(json_path, found.as_json())
    if found.void:
        sys.exit(_VOID_EXIT_CODE)


@command.command()
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each kind.")
@click.option("--only", multiple=True, metavar="KIND", help="Only this kind. Repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
def hostile(*, seconds: float, only: tuple[str, ...], json_path: Path | None) -> None:
    """Let misbehaving peers loose, and say what they cost a bystander.

    Kinds: nobody, slow-heads, slow-bodies, idle, half-open, never-reading, resetters, half-closers,
    garbage, big-heads, large-bodies, gzip-bombs, large-batches.
    """
    from bench import hostile as besieging  # noqa: PLC0415 - so that the client loads less

    console = _console()
    kinds = besieging.choose(only)
    with console.status("starting") as status:
        found = list(besieging.measure(kinds, seconds, status.update))
    besieging.show(console, found)
    if json_path is not None:
        _write_json(json_path, besieging.as_json(found, seconds))


def _run(site: Site, job: Job, console: Console, *, verify: bool) -> tuple[Run, Books | None]:
    if not verify:
        return loading.run(site, job, console)
    with loading.keeping(job) as kept:
        return loading.run(site, kept, console)


def _console() -> Console:
    """Return a console that is wide enough for the tables also when it is a file."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def _write_json(path: Path, found: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


@command.command()
@click.option("--copies", default=300, type=click.IntRange(1), help="Of each size, each round.")
def batch(*, copies: int) -> None:
    """Measure what a COPY costs the server by its size, ours and asyncpg's."""
    from bench import batch as copying  # noqa: PLC0415 - so that the client loads less

    console = _console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("copying", total=len(copying.SIZES) * copying.ROUNDS)
        found = copying.measure(copies, lambda: progress.advance(bar))
    copying.show(console, found)


@command.command()
@click.option("--repeats", default=50, type=click.IntRange(1), help="Of each step, each round.")
def stages(*, repeats: int) -> None:
    """Measure what each step of an event costs the server, alone and as one of a batch."""
    from bench import stages as steps  # noqa: PLC0415 - so that the client loads less

    console = _console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("timing", total=steps.ROUNDS)
        found = steps.measure(repeats, lambda: progress.advance(bar))
    steps.show(console, found)


@command.command("documents")
@click.option("--documents", "count", default=300_000, type=click.IntRange(1), help="How many.")
@click.option("--seed", default=None, type=int, help="Repeat a run. Default: a new one.")
@click.option("--processes", default=2, type=click.IntRange(1, 64), help="That share the work.")
def try_documents(*, count: int, seed: int | None, processes: int) -> None:
    """Try hostile events on the intake and on Postgres: what one takes, the other stores equal."""
    from bench import agreement, servers  # noqa: PLC0415 - so that the client loads less

    console = _console()
    seed = secrets.randbits(32) if seed is None else seed
    with servers.prepared_postgres() as url, Progress(console=console) as progress:
        bar = progress.add_task(f"seed {seed}", total=count)
        result = agreement.run_many(
            url, count, seed, processes, lambda done: progress.advance(bar, done)
        )
    for found in result.findings:
        console.print(
            f"batch {found.seed}: {found.body!r}\n  {found.difference}", style="red", markup=False
        )
    console.print(
        f"seed {seed}: {result.documents:,} documents, {result.accepted:,} let through, "
        f"{len(result.findings)} findings"
    )
    if result.findings:
        sys.exit(1)


command.add_command(audit)
command.add_command(outage)


def main() -> None:
    """Run the command; what a user can mend is one line on standard error and exit code 1."""
    logs.configure("error", "text")  # what goes without saying here, such as migrations
    try:
        command(prog_name="python -m bench")
    except BenchError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)
