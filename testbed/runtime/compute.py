"""How a node computes the parts of an inference: paced by its FLOP/s, or live with the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from testbed.documents.resolved import Compute, RuntimeName
from testbed.jobs.decision import Kind, Option
from testbed.jobs.profile import Profile
from testbed.runtime.alarm import Alarm
from testbed.runtime.payload_store import PayloadStore, Stored
from testbed.runtime.run_spec import RunSpec

if TYPE_CHECKING:
    from testbed.aecnn.model import CoInferenceModel

_T = TypeVar("_T")
Stage = Literal["head", "encode", "decode", "tail"]

_OVERRUN_S = 0.002
"""A paced part that ends so much later than its pace is an overrun: the machine could not keep up."""


class MismatchError(Exception):
    """A payload arrived that is not the one the model makes of this photograph under this option."""


class RunPhotograph(NamedTuple):
    """One photograph of a run."""

    jpeg: bytes
    pixels: Any  # uint8 [height, width, 3]


class DevicePart(NamedTuple):
    """What the device's part of an inference came to, and the instants (monotonic clock) at which its halves ended."""

    result: bytes | int  # the payload; for local, the class
    headed_s: float
    encoded_s: float


class EdgePart(NamedTuple):
    """What the edge's part of an inference came to, and the instants (monotonic clock) at which its halves ended."""

    predicted: int
    decoded_s: float
    done_s: float


class NodeCompute(Protocol):
    """One node's part of an inference, of which the node asks for one at a time."""

    @property
    def overruns(self) -> int:
        """How often a paced part took longer than its pace."""
        ...

    def expected_s(self, option: Option, *stages: Stage) -> float:
        """Seconds that these stages should take here."""
        ...

    async def on_device(self, image: int, option: Option) -> DevicePart:
        """Head and encoder; for local, the whole network."""
        ...

    async def on_edge(self, image: int, option: Option, payload: bytes) -> EdgePart:
        """Decoder and tail.

        Raises:
            Exception: the payload cannot be decoded, or is not this photograph's.
        """
        ...


def make_compute(compute: Compute, profile: Profile, alarm: Alarm, inputs: RunInputs) -> NodeCompute:
    """The compute that a topology asks of a node."""
    if compute.flops_per_s is None:
        return LiveCompute(profile, inputs.model(), inputs.photographs())
    return PacedCompute(profile, inputs.store(), alarm, compute.flops_per_s)


class RunInputs:
    """What the nodes of one process compute from, each loaded once and only when a node needs it."""

    def __init__(
        self,
        checkpoint: str,
        runtime: RuntimeName,
        images: str,
        store_folder: Path,
        indices: frozenset[int],
        choosable: Sequence[Option] | None = None,
    ) -> None:
        self._checkpoint, self._runtime = checkpoint, runtime
        self._images, self._store_folder, self._indices = images, store_folder, indices
        self._choosable = choosable
        self._store: PayloadStore | None = None
        self._model: CoInferenceModel | None = None
        self._photographs: dict[int, RunPhotograph] | None = None

    @classmethod
    def of(cls, run: RunSpec) -> RunInputs:
        """The inputs of a run."""
        return cls(run.checkpoint, run.runtime, run.images, Path(run.store), frozenset(run.labels), run.choosable)

    def store(self) -> PayloadStore:
        """The prepared payloads of the run's photographs."""
        self._store = self._store or PayloadStore(self._store_folder, self._indices)
        return self._store

    def model(self) -> CoInferenceModel:
        """The model, warmed up, on one thread: several nodes share the machine."""
        if self._model is None:
            import torch

            from testbed.aecnn.loading import load_model

            torch.set_num_threads(1)
            self._model = load_model(self._checkpoint, self._runtime)
            self._model.warm_up(self._choosable)
        return self._model

    def photographs(self) -> dict[int, RunPhotograph]:
        """The run's photographs, read and decoded: a device has them in memory when its job arrives."""
        if self._photographs is None:
            from testbed.aecnn.photographs import open_photographs

            opened = open_photographs(self._images, self.model().classes, self.model().input_px)
            self._photographs = {i: RunPhotograph(opened.jpeg(i), opened.pixels(i)) for i in self._indices}
        return self._photographs


class PacedCompute:
    """Takes results from the store and time from the pace: FLOPs over FLOP/s."""

    def __init__(
        self, profile: Profile, store: Mapping[tuple[int, Option], Stored], alarm: Alarm, flops_per_s: float
    ) -> None:
        self._profile, self._store, self._alarm, self._flops_per_s = profile, store, alarm, flops_per_s
        self.overruns = 0

    def expected_s(self, option: Option, *stages: Stage) -> float:
        """FLOPs of the stages over the node's pace."""
        row = self._profile.by_option[option]
        flops: float = sum(getattr(row, f"{stage}_flops") for stage in stages)
        return flops / self._flops_per_s

    async def on_device(self, image: int, option: Option) -> DevicePart:
        """Pass the time of head and encoder; return the prepared payload, for local the prepared class."""
        headed_s = time.monotonic() + self.expected_s(option, "head")
        encoded_s = await self._pass(headed_s + self.expected_s(option, "encode"))
        stored = self._store[image, option]
        if option.kind is Kind.LOCAL:
            return DevicePart(stored.predicted, encoded_s, encoded_s)
        return DevicePart(stored.payload, headed_s, encoded_s)

    async def on_edge(self, image: int, option: Option, payload: bytes) -> EdgePart:
        """Pass the time of decoder and tail; return the prepared class.

        Raises:
            MismatchError: the payload is not the very one that was prepared.
        """
        stored = self._store[image, option]
        if payload != stored.payload:
            raise MismatchError(f"{len(payload)} bytes arrived that are not photograph {image} as {option}")
        decoded_s = time.monotonic() + self.expected_s(option, "decode")
        return EdgePart(stored.predicted, decoded_s, await self._pass(decoded_s + self.expected_s(option, "tail")))

    async def _pass(self, end_s: float) -> float:
        """Let time pass until the pace's end; returns when it really was."""
        await self._alarm.until(end_s)
        ended_s = time.monotonic()
        if ended_s - end_s > _OVERRUN_S:
            self.overruns += 1
        return ended_s


class LiveCompute:
    """Runs the model on a thread of the node's own: a part takes what it takes here."""

    def __init__(self, profile: Profile, model: CoInferenceModel, photographs: dict[int, RunPhotograph]) -> None:
        self._profile, self._model, self._photographs = profile, model, photographs
        self._thread = ThreadPoolExecutor(1)
        self.overruns = 0

    def expected_s(self, option: Option, *stages: Stage) -> float:
        """What the profile measured."""
        row = self._profile.by_option[option]
        return float(sum(getattr(row, f"{stage}_s") for stage in stages))

    async def on_device(self, image: int, option: Option) -> DevicePart:
        """Run head and encoder; for local, the whole network."""
        return await self._run(self._device_part, image, option)

    async def on_edge(self, image: int, option: Option, payload: bytes) -> EdgePart:
        """Run decoder and tail."""
        return await self._run(self._edge_part, image, option, payload)

    def _device_part(self, image: int, option: Option) -> DevicePart:
        photograph = self._photographs[image]
        features = self._model.head(photograph.jpeg if option.encoding == "jpeg" else photograph.pixels, option)
        headed_s = time.monotonic()
        if option.kind is Kind.LOCAL:
            return DevicePart(int(features), headed_s, headed_s)
        return DevicePart(self._model.encode(features, option, image), headed_s, time.monotonic())

    def _edge_part(self, image: int, option: Option, payload: bytes) -> EdgePart:
        features = self._model.decode(payload, option, image)
        decoded_s = time.monotonic()
        return EdgePart(self._model.tail(features, option), decoded_s, time.monotonic())

    async def _run(self, part: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, part, *arguments)
