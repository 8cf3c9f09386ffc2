"""One piece of work at a time, in the order of coming, whoever gives up meanwhile."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import simpy

from testbed.simulation.executor import Executor


def test_turns_come_in_order_and_the_backlog_is_told() -> None:
    env = simpy.Environment()
    executor = Executor(env)
    began_s: dict[int, float] = {}

    def work(number: int) -> Generator[simpy.Event, object, None]:
        yield env.timeout(0.001 * number)
        began_s[number] = yield from executor.hold(0.1, 0.2)

    for number in range(4):
        env.process(work(number))
    env.run(until=0.05)
    assert executor.backlog_s == pytest.approx(0.05 + 3 * 0.1)
    env.run()
    assert began_s == pytest.approx({0: 0.0, 1: 0.2, 2: 0.4, 3: 0.6}) and executor.backlog_s == 0


@pytest.mark.parametrize("interrupted_s", [0.05, 0.2, 0.25])
def test_work_that_is_interrupted_lets_the_next_have_its_turn(interrupted_s: float) -> None:
    env = simpy.Environment()
    executor = Executor(env)
    began_s: dict[str, float] = {}

    def work(name: str) -> Generator[simpy.Event, object, None]:
        try:
            began_s[name] = yield from executor.hold(0.2, 0.2)
        except simpy.Interrupt:
            began_s[name] = -1.0

    env.process(work("first"))
    second = env.process(work("second"))
    env.process(work("third"))
    env.timeout(interrupted_s).callbacks.append(lambda _: second.interrupt())
    env.run()
    assert began_s == pytest.approx({"first": 0.0, "second": -1.0, "third": max(0.2, interrupted_s)})
    assert executor.backlog_s == 0
