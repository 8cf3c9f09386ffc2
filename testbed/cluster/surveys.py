"""What stands of a testbed on all its machines, found over SSH without asking its owners."""

from __future__ import annotations

import msgspec

from testbed.cluster.undo import Which, recorded
from testbed.network.ownership import Ownership, names_up
from testbed.network.survey import Survey, survey

_TIMEOUT_S = 60.0


def survey_all(name: str) -> list[Survey]:
    """A testbed as it stands on each machine, this one first.

    Raises:
        NotUpError: this machine has none of that name.
    """
    ownership = Ownership.open(name)
    found = [survey(name)]
    if machines := recorded(ownership.entries()):
        from testbed.cluster.ssh import MachineError, Remote, connected, in_parallel

        def look(remote: Remote) -> Survey:
            return remote.call("survey", Which(name), Survey, _TIMEOUT_S)

        with connected(machines) as remotes:
            for machine, told in in_parallel(look, remotes).items():
                if isinstance(told, MachineError):
                    found.append(Survey(name, "unreachable", None, [], [], [], machine, str(told)))
                else:
                    found.append(msgspec.structs.replace(told, machine=machine))
    return found


def survey_here(which: Which) -> Survey:
    """A testbed as it stands on this machine."""
    if which.name not in names_up():
        return Survey(which.name, "gone", None, [], [], [])
    return survey(which.name)
