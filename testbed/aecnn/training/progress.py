"""Who is told how training goes."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of training as it goes."""

    def __call__(self, stage: str, done: float, note: str, **figures: float) -> None:
        """Hear of a stage: its name, the share done, a note to read, and the figures behind it.

        Figures are scalars by name (`loss`, `rate`, `accuracy`); `step` among them says at which step of the stage.
        """
        ...
