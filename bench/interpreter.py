"""How the Python that runs this was built: without PGO, an event costs a tenth more."""

import platform
import sysconfig
from typing import NamedTuple


class Build(NamedTuple):
    """What a figure has to be read with."""

    version: str
    pgo: bool
    """Optimized by the profile of a run (`--enable-optimizations`)."""
    lto: bool
    """Optimized over all files at once (`--with-lto`)."""

    def __str__(self) -> str:
        """Return it for a header."""
        pgo, lto = ("with" if each else "without" for each in (self.pgo, self.lto))
        return f"{self.version}, {pgo} PGO, {lto} LTO"


def build() -> Build:
    """Return how this interpreter was built."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    names = ("CONFIG_ARGS", "PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS", "PY_LDFLAGS_NODIST")
    return read(version, {name: str(sysconfig.get_config_var(name) or "") for name in names})


def read(version: str, variables: dict[str, str]) -> Build:
    """Return what its build's variables say.

    What was asked of `configure` counts, or else the compiler's flags: a distribution may have set
    those itself. `PGO_PROF_USE_FLAG` is no sign, for it is set in every build.
    """
    asked = [each.strip("'\"") for each in variables.get("CONFIG_ARGS", "").split()]
    flags = " ".join(text for name, text in variables.items() if name != "CONFIG_ARGS").split()
    return Build(
        version,
        pgo="--enable-optimizations" in asked or _has(flags, "-fprofile-use"),
        lto=any(_is_lto(each) for each in asked) or _has(flags, "-flto"),
    )


def _has(flags: list[str], wanted: str) -> bool:
    return any(each == wanted or each.startswith(f"{wanted}=") for each in flags)


def _is_lto(argument: str) -> bool:
    name, _, value = argument.partition("=")
    return name == "--with-lto" and value != "no"
