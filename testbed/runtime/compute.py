"""How a node computes the parts of an inference: paced by its FLOP/s, or live with the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
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
Part = Literal["head", "encode", "decode", "tail"]

_OVERRUN_S = 0.002
"""A paced part that ends so much later than its pace is an overrun: the machine could not keep up."""


class MismatchError(Exception):
    """A payload arrived that is not the one the model makes of this photograph under this option."""


class RunPhotograph(NamedTuple):
    """One photograph of a run."""

    jpeg: bytes
    pixels: Any  # uint8 [height, width, 3]


class NodeCompute(Protocol):
    """The parts of an inference on one node, which calls them one at a time."""

    @property
    def overruns(self) -> int:
        """How often a paced part took longer than its pace."""
        ...

    def expected_s(self, option: Option, *parts: Part) -> float:
        """Seconds that these parts should take here."""
        ...

    async def head(self, image: int, option: Option) -> Any:
        """The device's part of the network; for local, the whole: its class."""
        ...

    async def encode(self, image: int, option: Option, features: Any) -> bytes:
        """The payload."""
        ...

    async def decode(self, image: int, option: Option, payload: bytes) -> Any:
        """The features or pixels that the payload stands for.

        Raises:
            Exception: it cannot be decoded, or is not this photograph's.
        """
        ...

    async def tail(self, image: int, option: Option, features: Any) -> int:
        """The edge's part of the network: the class."""
        ...


def make_compute(compute: Compute, profile: Profile, alarm: Alarm, inputs: RunInputs) -> NodeCompute:
    """The compute that a topology asks of a node."""
    if compute.flops_per_s is None:
        return LiveCompute(profile, inputs.model(), inputs.photographs())
    return PacedCompute(profile, inputs.store(), alarm, compute.flops_per_s)


class RunInputs:
    """What the nodes of one process compute from, each loaded once and only when a node needs it."""

    def __init__(
        self, checkpoint: str, runtime: RuntimeName, images: str, store_folder: Path, indices: frozenset[int]
    ) -> None:
        self._checkpoint, self._runtime = checkpoint, runtime
        self._images, self._store_folder, self._indices = images, store_folder, indices
        self._store: PayloadStore | None = None
        self._model: CoInferenceModel | None = None
        self._photographs: dict[int, RunPhotograph] | None = None

    @classmethod
    def of(cls, run: RunSpec) -> RunInputs:
        """The inputs of a run."""
        return cls(run.checkpoint, run.runtime, run.images, Path(run.store), frozenset(run.labels))

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
            self._model.warm_up()
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

    def expected_s(self, option: Option, *parts: Part) -> float:
        """FLOPs of the parts over the node's pace."""
        row = self._profile.by_option[option]
        flops: float = sum(getattr(row, f"{part}_flops") for part in parts)
        return flops / self._flops_per_s

    async def head(self, image: int, option: Option) -> int | None:
        """Pass the head's time; for local, return the class."""
        await self._pace(option, "head")
        return self._store[image, option].predicted if option.kind is Kind.LOCAL else None

    async def encode(self, image: int, option: Option, features: object) -> bytes:
        """Pass the encoder's time; return the prepared payload."""
        await self._pace(option, "encode")
        return self._store[image, option].payload

    async def decode(self, image: int, option: Option, payload: bytes) -> None:
        """Pass the decoder's time, having checked that the payload is the very one that was prepared."""
        if payload != self._store[image, option].payload:
            raise MismatchError(f"{len(payload)} bytes arrived that are not photograph {image} as {option}")
        await self._pace(option, "decode")

    async def tail(self, image: int, option: Option, features: object) -> int:
        """Pass the tail's time; return the prepared class."""
        await self._pace(option, "tail")
        return self._store[image, option].predicted

    async def _pace(self, option: Option, part: Part) -> None:
        end_s = time.monotonic() + self.expected_s(option, part)
        await self._alarm.until(end_s)
        if time.monotonic() - end_s > _OVERRUN_S:
            self.overruns += 1


class LiveCompute:
    """Runs the model on a thread of the node's own: a part takes what it takes here."""

    def __init__(self, profile: Profile, model: CoInferenceModel, photographs: dict[int, RunPhotograph]) -> None:
        self._profile, self._model, self._photographs = profile, model, photographs
        self._thread = ThreadPoolExecutor(1)
        self.overruns = 0

    def expected_s(self, option: Option, *parts: Part) -> float:
        """What the profile measured."""
        row = self._profile.by_option[option]
        return float(sum(getattr(row, f"{part}_s") for part in parts))

    async def head(self, image: int, option: Option) -> Any:
        """Run the head; for local, the whole network: its class."""
        photograph = self._photographs[image]
        return await self._run(
            self._model.head, photograph.jpeg if option.encoding == "jpeg" else photograph.pixels, option
        )

    async def encode(self, image: int, option: Option, features: Any) -> bytes:
        """Run the encoder."""
        return await self._run(self._model.encode, features, option, image)

    async def decode(self, image: int, option: Option, payload: bytes) -> Any:
        """Run the decoder."""
        return await self._run(self._model.decode, payload, option, image)

    async def tail(self, image: int, option: Option, features: Any) -> int:
        """Run the tail."""
        return await self._run(self._model.tail, features, option)

    async def _run(self, part: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, part, *arguments)
