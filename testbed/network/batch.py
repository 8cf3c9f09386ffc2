"""Programs of iproute2 that take their commands on standard input, inside a node's network namespace."""

from __future__ import annotations

import subprocess

from testbed.network.errors import NetworkError
from testbed.network.ownership import Ownership


def run_batch(ownership: Ownership, pid: int, program: str, commands: list[str]) -> None:
    """Runs commands of `ip` or `bridge` in the network namespace of a process, with one start of the program.

    Raises:
        NetworkError: a command failed; says which and why.
    """
    if not commands:
        return
    child = ownership.popen(
        [program, "-batch", "-"],
        in_pid_netns=pid,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = child.communicate("\n".join(commands).encode() + b"\n")[0].decode(errors="replace").strip()
    if child.returncode != 0:
        raise NetworkError(f"{program} could not set up the network: {_explained(said, commands)}")


def _explained(said: str, commands: list[str]) -> str:
    """What a program said, with the command that it names by its line."""
    for word in said.split():
        number = word.rpartition(":")[2]
        if word.startswith("-:") and number.isdigit() and 0 < int(number) <= len(commands):
            return f"{' '.join(said.split())} ({commands[int(number) - 1]!r})"
    return " ".join(said.split()) or "it ended without a word"
