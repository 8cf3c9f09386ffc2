"""Event loops that keep time go before the machine's ordinary work while a run goes on.

A scheduler that shares time fairly leaves a process waiting for others on its processor while another one is idle for a
moment, and a job then begins ten or twenty milliseconds late on a machine that is busy to half.
"""

from __future__ import annotations

import contextlib
import os

from testbed.documents.resolved import Limits

_FIRST = os.SCHED_RR | os.SCHED_RESET_ON_FORK  # threads that compute are shared out as everybody's
_PRIORITY = 1  # the least above ordinary work: behind the processes that shape links


def go_first(*limits: Limits) -> None:
    """This thread goes first from now on, where permitted; not on a single processor, which it could take from others
    altogether, nor for nodes with a limit on processor time, which the kernel does not hold those to who go first.
    """
    if len(os.sched_getaffinity(0)) > 1 and all(limit.cpus is None for limit in limits):
        _schedule(_FIRST, _PRIORITY)


def go_along() -> None:
    """This thread takes its turn again."""
    _schedule(os.SCHED_OTHER, 0)


def _schedule(policy: int, priority: int) -> None:
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, policy, os.sched_param(priority))
