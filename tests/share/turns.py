"""A process that takes a turn as it is told, for the tests: `python -m tests.share.turns FD`.

It reads commands, one a line: `take`, `pass`, `wanted`. It says `asking`, and what came of it.
"""

import asyncio
import sys

import click

from ingest.share.turn import Turn

NUMBER = 3
"""Which turn it takes."""


async def main(descriptor: int, places: int) -> None:
    """Do as told until the input ends."""
    turn = Turn(NUMBER, descriptor, places=places)
    loop = asyncio.get_running_loop()
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if command == "take":
            click.echo("asking")
            await turn.take()
            click.echo("taken")
        elif command == "pass":
            turn.pass_on()
            click.echo("passed")
        else:
            click.echo(turn.is_wanted)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
