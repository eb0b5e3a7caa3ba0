"""`nonito check`: says in words whether everything is fit to serve."""

import sys

import click

from ingest.cli.database import in_session
from ingest.cli.settings import load_quietly
from ingest.store import checks


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Say whether the configuration and the database are fit to serve."""
    settings = load_quietly(context)
    click.echo("ok    configuration")
    findings = in_session(settings, checks.examine, migrate=False)
    for finding in findings:
        click.echo(f"{'ok   ' if finding.is_good else 'WRONG'} {finding.text}")
    if not all(finding.is_good for finding in findings):
        sys.exit(1)
