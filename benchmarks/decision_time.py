"""What a slot's decision takes: the untrained graph network with its candidates, and the model that judges them.

    OMP_NUM_THREADS=1 python benchmarks/decision_time.py [CHECKPOINT]

Milliseconds of one thread, of the whole decision from what is known to everyone's choice, for 10, 50 and 200 devices at
2 and 5 edges, the sizes by turns, five slots each: by the wall clock, the best; of CPU, the best and the median, and
the medians of its parts. Bound: 2 ms at 10 x 2. An untrained network searches no less than a trained one.

Then the CPU's median divided by devices times options, and that over what it is at 10 x 2. Bound: 1, so that time grows
no faster than devices times options.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from testbed.aecnn.checkpoint import checkpoint_path, load_profile
from testbed.offloading.grl import grl
from testbed.offloading.learner import Learner, probabilities
from testbed.offloading.mec import Mec
from testbed.offloading.scenario import Scenario, Slots

SIZES = [(devices, edges) for edges in (2, 5) for devices in (10, 50, 200)]
TURNS, SLOTS = 12, 5
COLUMNS = (
    *("devices", "edges", "options", "best, wall", "best", "median", "graph", "actor", "search", "judging in it"),
    *("us per device x option", "over 10 x 2"),
)
PROGRESS = Console(stderr=True)


class Timed(NamedTuple):
    """Seconds of CPU, and the whole by the wall clock."""

    wall: float

    graph: float
    actor: float
    search: float  # the judging included
    judge: float

    @property
    def whole(self) -> float:
        return self.graph + self.actor + self.search


def timed(learner: Learner, mec: Mec, slots: Slots, slot: int) -> Timed:
    problem = mec.problem(slots[slot])
    judging = 0.0

    def judge(choices):
        nonlocal judging
        began = time.thread_time()
        rewards = problem.rewards(choices)
        judging += time.thread_time() - began
        return rewards

    wall = time.perf_counter()
    began = time.thread_time()
    graph = problem.graph
    seen = time.thread_time()
    found = probabilities(learner.actor, graph)
    thought = time.thread_time()
    learner.search.best(found, graph.allowed, judge)
    ended = time.thread_time()
    return Timed(time.perf_counter() - wall, seen - began, thought - seen, ended - thought, judging)


def main() -> None:
    checkpoint = checkpoint_path(sys.argv[1] if len(sys.argv) > 1 else "default")
    profile = load_profile(checkpoint, hashlib.sha256(checkpoint.read_bytes()).hexdigest()).considered()
    worlds = {}
    for devices, edges in SIZES:
        mec = Mec(Scenario(devices=devices, edges=edges), profile)
        slots = Slots(mec.scenario, seed=0)
        worlds[devices, edges] = grl(mec.problem(slots[0]).graph, seed=0), mec, slots
    taken: dict[tuple[int, int], list[Timed]] = {size: [] for size in SIZES}
    for turn in track(range(TURNS), "turns", console=PROGRESS):
        for size in SIZES:
            taken[size] += [timed(*worlds[size], SLOTS * turn + slot) for slot in range(SLOTS)]

    table = Table(*COLUMNS)
    median = {size: statistics.median(one.whole for one in taken[size]) for size in SIZES}
    per_pair = {size: median[size] / (size[0] * len(worlds[size][1].menu)) for size in SIZES}
    for size in SIZES:
        _, *parts = zip(*taken[size], strict=True)
        table.add_row(
            *map(str, (*size, len(worlds[size][1].menu))),
            f"{1e3 * min(one.wall for one in taken[size]):.2f}",
            f"{1e3 * min(one.whole for one in taken[size]):.2f}",
            f"{1e3 * median[size]:.2f}",
            *(f"{1e3 * statistics.median(part):.2f}" for part in parts),
            f"{1e6 * per_pair[size]:.2f}",
            f"{per_pair[size] / per_pair[10, 2]:.2f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
