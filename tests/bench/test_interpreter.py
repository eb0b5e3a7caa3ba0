"""How an interpreter was built, from what real builds say of themselves."""

import platform

import pytest

from bench import interpreter, machine


@pytest.mark.parametrize(
    ("variables", "pgo", "lto"),
    [
        ({"CONFIG_ARGS": "'--prefix=/usr' '--enable-shared'"}, False, False),
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, True, True),
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto=thin'"}, True, True),
        ({"CONFIG_ARGS": "'--with-lto=no'", "PY_CFLAGS": "-O3 -Wall"}, False, False),
        ({"PY_CFLAGS_NODIST": "-fprofile-use -fprofile-correction"}, True, False),
        ({"PY_LDFLAGS": "-Wl,-O1 -flto=auto"}, False, True),
    ],
)
def test_build_is_read_from_its_variables(
    variables: dict[str, str], *, pgo: bool, lto: bool
) -> None:
    """What configure was asked for, or the compiler's flags."""
    assert interpreter.read("CPython 3.11.2", variables) == ("CPython 3.11.2", pgo, lto)


def test_results_say_how_this_interpreter_was_built() -> None:
    """Beside the machine's other facts, and in words."""
    found = machine.describe()["interpreter"]
    assert found["version"].endswith(platform.python_version())
    assert {type(found["pgo"]), type(found["lto"])} == {bool}
    assert "PGO" in str(interpreter.build())
