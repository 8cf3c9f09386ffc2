"""Who goes first while a run goes on, by the kernel's own account."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from testbed.documents.resolved import Limits
from testbed.runtime.precedence import go_along, go_first
from tests.runtime.test_power import STAR

pytestmark = pytest.mark.root

several = pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="a single processor is shared by all alike")


def on_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@several
def test_a_thread_goes_first_for_a_while_and_those_that_it_begins_do_not() -> None:
    def work() -> tuple[int, int, int]:
        go_first(Limits(), Limits(memory_bytes=2**30))
        first, begun = os.sched_getscheduler(0), on_a_thread(lambda: os.sched_getscheduler(0))
        go_along()
        return first & ~os.SCHED_RESET_ON_FORK, begun, os.sched_getscheduler(0)

    assert on_a_thread(work) == (os.SCHED_RR, os.SCHED_OTHER, os.SCHED_OTHER)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_node_with_a_limit_on_processor_time_is_held_to_it() -> None:
    def work() -> int:
        go_first(Limits(), Limits(cpus=0.5))
        return os.sched_getscheduler(0)

    assert on_a_thread(work) == os.SCHED_OTHER


def test_nobody_goes_first_on_a_single_processor() -> None:
    def work() -> int:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        go_first()
        return os.sched_getscheduler(0)

    assert on_a_thread(work) == os.SCHED_OTHER


@several
def test_nodes_go_first_while_a_run_goes_on_and_no_longer(staged, jobs) -> None:
    found: list[int] = []

    async def look(start_s: float) -> None:
        found.append(os.sched_getscheduler(0))

    def work() -> int:
        staged(STAR).play(jobs(2, 0.05), meanwhile=look)
        return os.sched_getscheduler(0)

    assert on_a_thread(work) == os.SCHED_OTHER
    assert [policy & ~os.SCHED_RESET_ON_FORK for policy in found] == [os.SCHED_RR]
