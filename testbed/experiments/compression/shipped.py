"""What is shipped, evaluated here: every option of the checkpoint, against the study that came with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.aecnn.outcomes import Study
from testbed.experiments.compression.studies import ANALOGUE
from testbed.jobs.decision import Option

FEW = 0.01
"""Share of the photographs whose answers, and of the bytes, that may differ between machines whose sums round apart."""


class Evaluated(msgspec.Struct, frozen=True, eq=False):
    """A checkpoint over photographs."""

    checkpoint: str  # SHA-256
    photographs: tuple[str, ...]
    options: tuple[Option, ...]
    right: NDArray[np.bool_]  # [options, photographs]
    payload_bytes: NDArray[np.int64]  # [options, photographs]


class Disagreement(msgspec.Struct, frozen=True):
    """An option whose answers or bytes are not those of the study."""

    option: Option
    answers: float  # share of the photographs answered otherwise
    payload_bytes: float  # relative difference of the mean bytes

    @property
    def small(self) -> bool:
        """Whether rounding may explain it."""
        return self.answers <= FEW and abs(self.payload_bytes) <= FEW


class Agreement(msgspec.Struct, frozen=True):
    """What was evaluated here against the study of the same checkpoint."""

    seed: int
    options: int  # that both have
    photographs: int  # that both have
    disagreements: tuple[Disagreement, ...]

    @property
    def agrees(self) -> bool:
        """Whether the two say the same, but for rounding."""
        return self.options > 0 and self.photographs > 0 and all(one.small for one in self.disagreements)

    def in_words(self) -> str:
        """One sentence."""
        over = f"{self.options} options over {self.photographs} photographs"
        if not self.options or not self.photographs:
            return f"the committed study of seed {self.seed} has no option or no photograph in common with it"
        if not self.disagreements:
            return f"agrees with the committed study of seed {self.seed} in every answer and byte: {over}"
        worst = max(self.disagreements, key=lambda one: max(one.answers, abs(one.payload_bytes)))
        how = "agrees, but for rounding," if self.agrees else "DISAGREES"
        worst_share = f"{100 * worst.answers:.1f} % of the answers, {100 * worst.payload_bytes:+.2f} % of the bytes"
        return (
            f"{how} with the committed study of seed {self.seed}: {len(self.disagreements)} of {over} differ, "
            f"most of all {worst.option} ({worst_share})"
        )


def evaluate(checkpoint: str, progress: Callable[[float], None], images: str = "sample") -> Evaluated:
    """Every option over the photographs, by as many processes as there are cores, and nothing kept from before.

    `images` is what `open_photographs` takes; `progress` is told the share done. Raises CheckpointError.
    """
    from testbed.aecnn.checkpoint import load_checkpoint
    from testbed.aecnn.inference import SplitModel
    from testbed.aecnn.photographs import open_photographs
    from testbed.runtime.payload_store import PayloadStore, prepare

    model = SplitModel(load_checkpoint(checkpoint))
    photographs = open_photographs(images, model.classes)
    every = range(len(photographs))
    with tempfile.TemporaryDirectory(prefix="testbed-") as folder:
        prepare(Path(folder), checkpoint, "onnx", images, every, progress)
        store = PayloadStore(Path(folder), every)
    return Evaluated(
        model.sha256,
        tuple(photographs.name(index) for index in every),
        model.options,
        np.array(
            [
                [store[index, option].predicted == photographs.label(index) for index in every]
                for option in model.options
            ]
        ),
        np.array([[len(store[index, option].payload) for index in every] for option in model.options]),
    )


def agreement(evaluated: Evaluated, study: Study) -> Agreement:
    """What differs, over the options of no variant and the photographs that both have.

    What meets other noise in another set of photographs is left out.
    """
    place = {name: index for index, name in enumerate(study.photographs)}
    here = [index for index, name in enumerate(evaluated.photographs) if name in place]
    there = [place[evaluated.photographs[index]] for index in here]
    outcomes = {outcome.option: outcome for outcome in study.outcomes if not outcome.variant}
    both = [option for option in evaluated.options if option in outcomes and option.encoding != ANALOGUE]
    found = []
    for option in both if here else ():
        row = evaluated.options.index(option)
        answers = float(np.mean(evaluated.right[row, here] != outcomes[option].right()[there]))
        ours, theirs = evaluated.payload_bytes[row, here], np.array(outcomes[option].payload_bytes)[there]
        if answers or (ours != theirs).any():
            found.append(Disagreement(option, answers, float(ours.mean() / theirs.mean() - 1) if theirs.any() else 0.0))
    return Agreement(study.seed, len(both), len(here), tuple(found))
