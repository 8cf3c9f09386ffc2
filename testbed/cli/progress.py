"""What a command says while it works, on stderr: its steps, bars, and how a run stands."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from testbed.workload.run import Standing

_console = Console(stderr=True)


class Steps:
    """Tells each step as it begins, with the seconds since the command began."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self, step: str) -> None:
        """Tell a step."""
        print(f"[{time.monotonic() - self._began_s:6.1f} s] {step}", file=sys.stderr, flush=True)


def bar(description: str) -> Progress:
    """A bar that runs from 0 to 1, with the time."""
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    return Progress(TextColumn(description), *columns, console=_console, transient=True)


@contextlib.contextmanager
def bar_when_told(description: str) -> Iterator[Callable[[float], None]]:
    """Takes the share that is done; a bar appears with the first: what has nothing to do says nothing."""
    with contextlib.ExitStack() as stack:
        shown: Progress | None = None

        def tell(done: float) -> None:
            nonlocal shown
            if shown is None:
                shown = stack.enter_context(bar(description))
                shown.add_task("", total=1.0)
            shown.update(shown.task_ids[0], completed=done)

        yield tell


@contextlib.contextmanager
def run_progress() -> Iterator[Callable[[Standing], None]]:
    """A line that shows how a run stands, for as long as runs go on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True) as progress:
        task = progress.add_task("", total=1.0, visible=False)

        def show(standing: Standing) -> None:
            ended = ", ".join(f"{number} {outcome}" for outcome, number in sorted(standing.ended.items()))
            share = min(1.0, max(0.0, standing.elapsed_s / standing.duration_s))
            text = f"{sum(standing.ended.values())} of {standing.issued} jobs: {ended}"
            progress.update(task, description=text, completed=share, visible=share < 1)

        yield show


@contextlib.contextmanager
def stages() -> Iterator[Callable[..., None]]:
    """Takes a stage's name, the share done, a note, and figures that it does not show; a bar for each stage."""
    with Progress(console=_console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: float, note: str, **figures: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=done, description=f"{stage}: {note}")

        yield tell
