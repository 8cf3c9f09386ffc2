"""The programs written in C and built with the package: where they lie."""

from __future__ import annotations

from pathlib import Path

from testbed.network.errors import NetworkError


def program(name: str) -> str:
    """The path of `launch`, `hold`, `relay` or `prober`.

    Raises:
        NetworkError: it was not built.
    """
    path = Path(__file__).parent / "bin" / name
    if not path.exists():
        raise NetworkError(
            f"the program {name!r} is not built: install the package again (pip install .) with a C compiler"
        )
    return str(path)
