"""The processes that hold the nodes' namespaces: one small process a node, all started by one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from testbed.network.errors import NetworkError
from testbed.network.native import program
from testbed.network.ownership import Ownership
from testbed.network.processes import Process


class Holders:
    """A namespace for each name, until `close` or the end of the calling process."""

    def __init__(self, ownership: Ownership, names: Sequence[str]) -> None:
        """Makes the namespaces.

        Raises:
            NetworkError: one could not be made; says why.
        """
        command = [program("hold"), str(ownership.journal), *(f"node {name}" for name in names)]
        self._child = ownership.popen(
            command,
            stdin=subprocess.PIPE,  # never written to: it ends with this process, and they with it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._child.stdout
        said = self._child.stdout.read().decode(errors="replace")
        self._child.stdout.close()
        found = {}
        for line in said.splitlines():
            try:
                number, pid, start = (int(word) for word in line.split())
            except ValueError:
                raise NetworkError(f"the nodes' namespaces could not be made: {line}") from None
            found[names[number]] = Process(pid, start)
        if missing := [name for name in names if name not in found]:
            raise NetworkError(f"the namespace of {missing[0]} ended as soon as it began")
        self.of = found

    def close(self) -> None:
        """Ends them, and with them the namespaces."""
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait()
