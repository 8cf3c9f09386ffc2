"""How the stages of one compression went: accuracy on the validation photographs after every pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from testbed.aecnn.outcomes import Curve
from testbed.aecnn.training.progress import Progress


class CurveRecorder:
    """Stands before a progress, and looks at the accuracy whenever another pass is done.

    What it saw is kept in a file, line by line: a killed training goes on with it.
    """

    def __init__(self, path: Path, accuracy: Callable[[], float], progress: Progress) -> None:
        self._path = path
        self._accuracy = accuracy
        self._progress = progress

    def stage(self, start: float, passes: float, steps: int) -> Progress:
        """The progress of a stage that comes after `start` passes and takes so many more, in so many steps."""

        def told(stage: str, done: float, note: str, **figures: float) -> None:
            self._progress(stage, done, note, **figures)
            step = int(figures["step"]) + 1
            if int(step * passes / steps) > int((step - 1) * passes / steps):
                line = msgspec.json.encode((start + step * passes / steps, self._accuracy()))
                with self._path.open("ab") as file:
                    file.write(line + b"\n")

        return told

    def curve(self, name: str) -> Curve:
        """All that was seen; what was done twice, because it was killed in between, counts once."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        seen = dict(msgspec.json.decode(line, type=tuple[float, float]) for line in lines)
        passes = sorted(seen)
        return Curve(name, tuple(passes), tuple(seen[at] for at in passes))
