"""Whose the results are: under sudo, those of the user who called it."""

from __future__ import annotations

import os
from pathlib import Path


def give_to_caller(path: Path) -> None:
    """Hands a file or folder that root just made to the user behind sudo; does nothing otherwise."""
    caller, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and caller.isdecimal() and group.isdecimal():
        os.chown(path, int(caller), int(group), follow_symlinks=False)


def make_folders(path: Path) -> None:
    """Makes a folder and those above it that are missing, each the caller's."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        give_to_caller(folder)
