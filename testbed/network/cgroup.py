"""The cgroup of a testbed: where it lies, who is in it, how it goes."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from testbed.network.processes import Process, process

HIERARCHIES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/pids"))
"""Where cgroups may be made: version 2, version 2 beside version 1, version 1's pids controller."""


def place(name: str) -> Path | None:
    """Where a cgroup of that name can be made; None where no hierarchy can be written."""
    for hierarchy in HIERARCHIES:
        if (hierarchy / "cgroup.procs").exists() and os.access(hierarchy, os.W_OK) and not _read_only(hierarchy):
            return hierarchy / name
    return None


def _read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def enter(cgroup: Path, pid: int) -> None:
    """Moves a process, with all its threads, into the cgroup."""
    (cgroup / "cgroup.procs").write_text(f"{pid}\n")


def _leave(cgroup: Path) -> None:
    """Moves the caller to the nearest group above that holds processes: one that hands controllers down does not."""
    for above in cgroup.parents:
        with contextlib.suppress(OSError):
            enter(above, os.getpid())
            return


def members(cgroup: Path) -> set[Process]:
    """The living processes in the cgroup and in those below it."""
    found: set[Process] = set()
    for folder, _, _ in os.walk(cgroup):  # which passes over what goes meanwhile
        with contextlib.suppress(OSError):
            pids = Path(folder, "cgroup.procs").read_text().split()
            found |= {one for pid in pids if (one := process(int(pid)))}
    return found


def remove(cgroup: Path) -> None:
    """Removes the cgroup and those below it, once nobody is in them; the caller is moved out first.

    Raises:
        OSError: it could not be removed.
    """
    if any(one.pid == os.getpid() for one in members(cgroup)):
        _leave(cgroup)
    folders = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
    for folder in (*folders, cgroup):
        for patience in range(20, -1, -1):  # the remains of the last process leave it a moment after its end
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                if not patience:
                    raise
                time.sleep(0.01)
                continue
            break
