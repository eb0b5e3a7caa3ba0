"""What the simulation found: on the screen, and as JSON."""

from typing import Any

from bench import console, machine
from bench.audit.verdicts import INVARIANTS
from bench.console import Console
from bench.simulate.plan import Plan
from bench.simulate.runner import Failure, Found

_OWN = {"no-error": "nothing is logged as an error of the server's own"}


def show(screen: Console, found: Found) -> None:
    """Print how many broke a promise, and how fast it went."""
    rows = [
        ("seeds", f"{found.seeds:,} from {found.first}, in {found.wall_s:.0f} s"),
        ("simulated", f"{found.simulated_s / 60:,.0f} minutes, {pace(found):,.0f} a minute"),
        ("CPU", f"{found.cpu_s / max(1, found.seeds) * 1000:.1f} ms a seed"),
        ("events", f"{found.events:,} sent, {found.acked:,} acknowledged"),
        ("faults", f"{sum(_faults(found).values()):,} of {len(_faults(found))} kinds"),
    ]
    screen.print(console.pairs(rows))
    count = len(found.failures)
    state = f"[bold red]{count} SEEDS BREAK A PROMISE" if count else "[green]every promise kept"
    screen.print(state)


def show_failure(screen: Console, failure: Failure) -> None:
    """Print the promise that a seed breaks, and the shortest plan that does so."""
    promise = INVARIANTS.get(failure.invariant) or _OWN.get(failure.invariant, "")
    screen.print(f"seed {failure.seed} breaks {failure.invariant}: {promise}", style="bold red")
    screen.print(f"  {failure.text[:500]}", markup=False)
    kept = len(failure.plan.actions)
    screen.print(f"  the shortest plan that does so has {kept} of {failure.actions} actions:")
    for line in lines_of(failure.plan):
        screen.print(f"    {line}", markup=False)


def pace(found: Found) -> float:
    """Return how many minutes were simulated in one."""
    return found.simulated_s / found.wall_s if found.wall_s else 0.0


def as_json(found: Found) -> dict[str, Any]:
    """Return everything about a run."""
    return {
        "machine": machine.describe(),
        "first_seed": found.first,
        "seeds": found.seeds,
        "bug": found.bug,
        "is_good": not found.failures,
        "wall_s": round(found.wall_s, 1),
        "cpu_s": round(found.cpu_s, 1),
        "cpu_ms_a_seed": round(found.cpu_s / max(1, found.seeds) * 1000, 1),
        "simulated_minutes": round(found.simulated_s / 60),
        "simulated_minutes_a_minute": round(pace(found)),
        "events": found.events,
        "acknowledged": found.acked,
        "faults": _faults(found),
        "failures": [
            {
                "seed": each.seed,
                "invariant": each.invariant,
                "found": each.text,
                "plan": lines_of(each.plan),
            }
            for each in found.failures
        ],
    }


def lines_of(plan: Plan) -> list[str]:
    """Return a plan as text."""
    settings = ", ".join(f"{name}={value}" for name, value in plan.settings._asdict().items())
    return [settings, *map(str, plan.actions)]


def _faults(found: Found) -> dict[str, int]:
    kinds = {"post", "batch", "burst", "again", "other"}
    return {name: count for name, count in sorted(found.actions.items()) if name not in kinds}
