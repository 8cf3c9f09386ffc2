"""What a command says while it works, on stderr: its steps, bars, and how runs stand."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live as Shown
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from testbed.cli.errors import WrongInputError

if TYPE_CHECKING:
    from testbed.reporting.live import Standing

_console = Console(stderr=True)
_SHOW_EVERY_S = 0.9  # runs tell twice a second


class Steps:
    """Tells each step as it begins, with the seconds since the command began."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self, step: str) -> None:
        """Tell a step."""
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more: what is told of must be done all the same
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
def run_progress(serve: int | None = None) -> Iterator[Callable[[Standing], None]]:
    """Takes how runs stand, for as long as they go on: on a terminal a table shows it, which refreshes; with a port to
    serve at (0: any that is free) a web page does, too, whose address is said.

    Raises:
        WrongInputError: the port cannot be had.
    """
    from testbed.reporting.live import Live
    from testbed.reporting.live_server import serving
    from testbed.reporting.live_table import live_table

    runs = Live()
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(serving(serve)) if serve is not None else None
        except OSError as error:
            raise WrongInputError(f"--serve {serve}: {error.strerror}; name another port, or 0 for any") from error
        if server:
            print(f"live view: {server.address} (metrics: {server.address}metrics)", file=sys.stderr, flush=True)
            stack.callback(lambda: server.publish(runs.view))
        shown = None
        if _console.is_terminal:
            shown = stack.enter_context(Shown(console=_console, auto_refresh=False, transient=True))
        shown_s = -math.inf

        def show(standing: Standing) -> None:
            nonlocal shown_s
            if shown is None and server is None:
                return
            runs.tell(standing)
            if time.monotonic() < shown_s + _SHOW_EVERY_S:
                return
            shown_s, view = time.monotonic(), runs.view
            if shown:
                shown.update(live_table(view, _console.height), refresh=True)
            if server:
                server.publish(view)

        yield show


class StageLines:
    """Stages as lines of a log: one when a stage begins, one a minute while it goes on, one when it is done."""

    def __init__(self, say: Callable[[str], None], every_s: float = 60.0) -> None:
        self._say = say
        self._every_s = every_s
        self._said_s: dict[str, float] = {}

    def __call__(self, stage: str, done: float, note: str, **figures: float) -> None:
        """Take a stage's name, the share done, a note."""
        now = time.monotonic()
        if done >= 1 or now >= self._said_s.get(stage, -math.inf) + self._every_s:
            self._said_s[stage] = now
            self._say(f"{stage}, {done:.0%}: {note}")


@contextlib.contextmanager
def stages() -> Iterator[Callable[..., None]]:
    """Takes a stage's name, the share done, a note, and figures that it does not show; a bar for each stage, or lines
    where no terminal would show bars.
    """
    if not _console.is_terminal:
        yield StageLines(Steps())
        return
    with Progress(console=_console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: float, note: str, **figures: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=done, description=f"{stage}: {note}")

        yield tell
