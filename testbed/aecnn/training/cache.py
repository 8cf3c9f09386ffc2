"""What training sees of the photographs: augmented pixels, and what frozen blocks make of them, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.training.augment import copies_of
from testbed.aecnn.training.device import training_device
from testbed.aecnn.training.draws import Draw, generator
from testbed.aecnn.training.progress import Progress

Array = NDArray[np.float16] | NDArray[np.uint8]

_AT_ONCE = 16  # photographs, in all their copies


class Features:
    """Cached `[copies, photographs, C, H, W]`, features in float16 or pixels in uint8, and the photographs' labels.

    They are given out on the training device, features in float32, pixels as they are.
    """

    def __init__(self, array: Array, labels: Tensor) -> None:
        self.array = array
        self.labels = labels.to(training_device())

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, batch: int = 64) -> Iterator[tuple[slice, Tensor]]:
        """The unaugmented copy in order: which photographs, and their features."""
        for start in range(0, len(self), batch):
            where = slice(start, min(start + batch, len(self)))
            yield where, _given(self.array[0, where])

    def batch_at(self, step: int, batch: int, seed: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """A step's random batch: features, labels, and `[batch, 2]` of copy and photograph.

        Every pass sees each photograph once, in an order of its own; a step's batch follows from `seed` alone.
        """
        epoch, at = divmod(step, self.steps(1, batch))
        order = generator(seed, Draw.ORDER, epoch).permutation(len(self))
        which = np.sort(order[at * batch : (at + 1) * batch])
        copy = generator(seed, Draw.COPIES, step).integers(len(self.array), size=len(which))
        return _given(self.array[copy, which]), self.labels[which], torch.from_numpy(np.stack([copy, which], 1))

    def steps(self, epochs: float, batch: int) -> int:
        """Whole batches in that many passes."""
        return int(epochs * (len(self) // batch))


def photographs_to_pixels(
    photographs: CaltechPhotographs,
    indices: Sequence[int],
    copies: int,
    px: int,
    seed: int,
    path: Path,
    progress: Progress,
) -> Features:
    """`copies` copies of each photograph, `px` x `px`: read from `path` if a run before this one made them."""

    def load(index: int) -> NDArray[np.uint8]:
        return copies_of(photographs.original(index), copies, (seed, index), px)

    def made() -> Iterator[NDArray[np.uint8]]:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for start in range(0, len(indices), _AT_ONCE):
                yield np.stack(list(pool.map(load, indices[start : start + _AT_ONCE])), axis=1)

    labels = torch.tensor([photographs.label(index) for index in indices])
    return Features(_kept(path, len(indices), made(), progress), labels)


def features_to_features(
    features: Features,
    compute: Callable[[Tensor], Tensor],
    path: Path,
    progress: Progress,
    copies: int | None = None,
) -> Features:
    """What `compute` makes of the first `copies` (all, if not given) of what is cached, kept likewise."""
    given = features.array[:copies]

    def made() -> Iterator[NDArray[np.float16]]:
        for start in range(0, len(features), _AT_ONCE):
            part = given[:, start : start + _AT_ONCE]
            with torch.no_grad():
                computed = compute(_given(part.reshape(-1, *part.shape[2:]))).half().cpu().numpy()
            yield computed.reshape(*part.shape[:2], *computed.shape[1:])

    return Features(_kept(path, len(features), made(), progress), features.labels)


def _kept(path: Path, n: int, batches: Iterator[Array], progress: Progress) -> Array:
    if not path.exists():
        partial = path.with_suffix(".partial")
        whole: np.memmap[tuple[int, ...], np.dtype[np.uint8 | np.float16]] | None = None
        done = 0
        for made in batches:
            if whole is None:
                shape = (len(made), n, *made.shape[2:])
                whole = np.lib.format.open_memmap(partial, "w+", made.dtype, shape)
            whole[:, done : done + made.shape[1]] = made
            done += made.shape[1]
            progress(path.stem, done / n, f"{done} of {n} photographs")
        assert whole is not None
        whole.flush()
        partial.replace(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _given(array: Array) -> Tensor:
    tensor = torch.from_numpy(np.array(array)).to(training_device())
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.float() if tensor.is_floating_point() else tensor
