"""The maximum load that is sustained: the highest rate of arrivals at which the success probability asked is held.

As MLPerf LoadGen's search for a peak rate does, runs at rates that are doubled (or halved) first find one that is held
and one that is not; then the rate between them is tried, until the two are near enough. What is found is as exact as
its runs: each is told with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec

from testbed.documents.units import RATE
from testbed.documents.workload import Workload
from testbed.reporting.load import Load, Trial
from testbed.reporting.ownership import give_to_caller
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.verdict import VALID

PRECISION = 0.05
"""The rates held and not held come as near, relative to each other."""
_FACTOR, _STEPS = 2.0, 10
"""How rates change until one is held and one is not, and how often at the most."""


def find_load(
    measure: Callable[[float], StoredRun],
    policy: str,
    devices: int,
    *,
    first_per_s: float,
    highest_per_s: float,
    success: float,
    tell: Callable[[str], None],
) -> Load:
    """Search from a rate of arrivals per device, by runs that `measure` makes at the rates it is given.

    A run that is INVALID is repeated once, as what disturbed it may be gone; a rate at which it is INVALID again is not
    held. Rates have three digits.
    """
    trials: list[Trial] = []

    def held(rate_per_s: float) -> bool:
        for attempt in (1, 2):
            trial = _trial(rate_per_s, measure(rate_per_s), success)
            trials.append(trial)
            tell(_told(trial))
            if trial.verdict == VALID or attempt == 2:
                return trial.held
        raise AssertionError

    low, high = _bracket(held, first_per_s, highest_per_s)
    while low is not None and high is not None and high / low > 1 + PRECISION:
        middle = _rounded(math.sqrt(low * high))
        if not low < middle < high:
            break
        low, high = (middle, high) if held(middle) else (low, middle)
    return Load(policy, success, low, high, devices, tuple(trials))


def find_loads(
    workload: Workload,
    devices: int,
    run_all: Callable[[Workload], list[StoredRun]],
    *,
    success: float,
    output: Path,
    tell: Callable[[str], None],
) -> list[Load]:
    """Search for each of the workload's policies in turn, from the workload's own rate; results lie beside the runs.

    Raises:
        ValueError: its arrivals have no rate.
    """
    loads = []
    for alone in workload.each_policy():

        def measure(rate_per_s: float, alone: Workload = alone) -> StoredRun:
            (run,) = run_all(alone.at_rate(rate_per_s))
            return run

        load = find_load(
            measure,
            alone.policies[0].name,
            devices,
            first_per_s=alone.rate_per_s,
            highest_per_s=alone.highest_rate_per_s,
            success=success,
            tell=tell,
        )
        path = output / f"{load.trials[0].run}-load.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(load), indent=2) + b"\n")
        give_to_caller(path)
        loads.append(load)
    return loads


def _bracket(
    held: Callable[[float], bool], first_per_s: float, highest_per_s: float
) -> tuple[float | None, float | None]:
    """A rate that is held and one above it that is not, none of them yet more than a factor apart."""
    rate = min(_rounded(first_per_s), highest_per_s)
    if held(rate):
        for _ in range(_STEPS):
            if rate == highest_per_s:
                break
            low, rate = rate, min(_rounded(rate * _FACTOR), highest_per_s)
            if not held(rate):
                return low, rate
        return rate, None
    for _ in range(_STEPS):
        if rate / _FACTOR < RATE.range[0]:
            break
        high, rate = rate, _rounded(rate / _FACTOR)
        if held(rate):
            return rate, high
    return None, rate


def _trial(rate_per_s: float, run: StoredRun, success: float) -> Trial:
    summary = run.summary
    probability = summary.success_probability
    return Trial(
        rate_per_s,
        summary.issued,
        probability,
        summary.success_interval,
        summary.verdict,
        summary.reasons,
        summary.verdict == VALID and probability is not None and probability >= success,
        run.path.name,
    )


def _told(trial: Trial) -> str:
    share = "no job" if trial.success_probability is None else f"success {trial.success_probability:.1%}"
    why = "".join(f" ({reason})" for reason in trial.reasons[:1])
    return f"{trial.rate_per_s:g} /s a device: {share}, {trial.verdict}{why}: {'held' if trial.held else 'not held'}"


def _rounded(rate_per_s: float) -> float:
    return float(f"{rate_per_s:.3g}")
