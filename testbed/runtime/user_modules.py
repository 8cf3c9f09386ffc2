"""Users' own modules: found where the command would find them, and in long-lived processes read anew for every run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def search_path() -> tuple[str, ...]:
    """Where a user's modules lie: the folder that the command was called in, then PYTHONPATH."""
    return (os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))  # noqa: PTH109


def make_importable(folders: Sequence[str]) -> None:
    """Let modules be imported from these folders."""
    sys.path += [folder for folder in folders if folder not in sys.path]


def make_importable_anew(folders: Sequence[str]) -> None:
    """Likewise, in a process that outlives runs: what was imported from there may have been edited since."""
    make_importable(folders)
    roots = [Path(folder).resolve() for folder in folders]
    installed = Path(sys.prefix).resolve()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name.split(".")[0] in ("testbed", "__main__"):
            continue
        path = Path(file).resolve()
        if not path.is_relative_to(installed) and any(path.is_relative_to(root) for root in roots):
            del sys.modules[name]
