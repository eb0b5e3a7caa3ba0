"""`nonito serve`: reads the command line, and goes on as the server without click."""

import click

from ingest.cli import options
from ingest.cli.command_line import begin_anew


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT or unix:/PATH, instead of --host and --port; may be given several times.",
)
@click.option("--workers", type=int, help="Processes that serve; 0 starts one a core.")
@click.pass_context
def serve(
    context: click.Context,
    host: str | None,
    port: int | None,
    listen: tuple[str, ...],
    workers: int | None,
) -> None:
    """Take events at POST /event until SIGTERM or Ctrl-C."""
    flags: dict[str, object] = {
        "server.host": host,
        "server.port": port,
        "server.listen": list(listen) or None,
        "server.workers": workers,
    }
    begin_anew(options.command_line(context, flags))
