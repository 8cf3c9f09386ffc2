"""Programs of iproute2 that take their commands on standard input, inside a node's network namespace."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from typing import Any

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


class TrafficControl:
    """One long-lived `tc` in a network namespace: changes take effect in well under a millisecond."""

    _ASK = "qdisc show dev lo"  # answered at once by one line of JSON: all commands before it have been done

    def __init__(self, ownership: Ownership, pid: int) -> None:
        self._child = ownership.popen(
            ["tc", "-json", "-statistics", "-force", "-batch", "-"],
            in_pid_netns=pid,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._unread = b""

    def run(self, commands: list[str]) -> None:
        """Runs commands that say nothing when they succeed.

        Raises:
            NetworkError: one failed (the others were tried); says which and why.
        """
        *complaints, _ = self._ask([*commands, self._ASK], 1)
        if complaints:
            raise NetworkError(f"tc could not shape a link: {_explained(chr(10).join(complaints), commands)}")

    def qdiscs(self, interfaces: list[str]) -> list[list[dict[str, Any]]]:
        """The queueing disciplines of each interface, with their statistics."""
        lines = self._ask([f"qdisc show dev {interface}" for interface in interfaces], len(interfaces))
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Ends the process."""
        assert self._child.stdin and self._child.stdout
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()

    def _ask(self, commands: list[str], answers: int) -> list[str]:
        """Writes the commands; returns the lines said, up to as many JSON answers as are expected."""
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.write(("\n".join(commands) + "\n").encode())
        except BrokenPipeError:
            raise NetworkError("the tc of a namespace has ended: the testbed was damaged; take it down") from None
        lines: list[str] = []
        until = time.monotonic() + 30
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while answers:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise NetworkError(f"tc did not answer in 30 s: {commands[0]}")
                data = os.read(self._child.stdout.fileno(), 65536)
                if not data:
                    raise NetworkError(f"tc ended: {' '.join(lines) or commands[0]}")
                *whole, self._unread = (self._unread + data).split(b"\n")
                for line in (raw.decode(errors="replace").strip() for raw in whole):
                    if line:
                        lines.append(line)
                        answers -= line.startswith("[")
        return lines


def _explained(said: str, commands: list[str]) -> str:
    """What a program said, with the command that it names by its line."""
    for word in said.split():
        number = word.rpartition(":")[2]
        if word.startswith("-:") and number.isdigit() and 0 < int(number) <= len(commands):
            return f"{' '.join(said.split())} ({commands[int(number) - 1]!r})"
    return " ".join(said.split()) or "it ended without a word"
