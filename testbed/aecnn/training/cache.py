"""Features of the training photographs, computed once by the frozen part of the network and kept on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.training.augment import copies_of
from testbed.aecnn.training.draws import Draw, generator
from testbed.aecnn.training.progress import Progress

Array = NDArray[np.float16]


class Features:
    """Cached `[copies, photographs, C, H, W]` of float16, and the photographs' labels."""

    def __init__(self, array: Array, labels: Tensor) -> None:
        self.array = array
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, batch: int = 64) -> Iterator[tuple[slice, Tensor]]:
        """The unaugmented copy in order: which photographs, and their features in float32."""
        for start in range(0, len(self), batch):
            where = slice(start, min(start + batch, len(self)))
            yield where, torch.from_numpy(self.array[0, where].astype(np.float32))

    def batch_at(self, step: int, batch: int, seed: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """A step's random batch: features (float32), labels, and `[batch, 2]` of copy and photograph.

        Every pass sees each photograph once, in an order of its own; a step's batch follows from `seed` alone.
        """
        epoch, at = divmod(step, self.steps(1, batch))
        order = generator(seed, Draw.ORDER, epoch).permutation(len(self))
        which = np.sort(order[at * batch : (at + 1) * batch])
        copy = generator(seed, Draw.COPIES, step).integers(len(self.array), size=len(which))
        features = torch.from_numpy(self.array[copy, which].astype(np.float32))
        return features, self.labels[which], torch.from_numpy(np.stack([copy, which], 1))

    def steps(self, epochs: float, batch: int) -> int:
        """Whole batches in that many passes."""
        return int(epochs * (len(self) // batch))


def photographs_to_features(
    photographs: CaltechPhotographs,
    indices: Sequence[int],
    copies: int,
    seed: int,
    compute: Callable[[Tensor], Tensor],
    path: Path,
    progress: Progress,
) -> Features:
    """Features of `copies` copies of each photograph: read from `path` if a run before this one made them."""
    labels = torch.tensor([photographs.label(index) for index in indices])

    def batches() -> Iterator[Tensor]:
        def load(index: int) -> NDArray[np.uint8]:
            return copies_of(photographs.original(index), copies, (seed, index))

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for start in range(0, len(indices), 16):
                yield torch.from_numpy(np.stack(list(pool.map(load, indices[start : start + 16])), axis=1))

    return Features(_kept(path, copies, len(indices), batches(), compute, progress), labels)


def features_to_features(
    features: Features, compute: Callable[[Tensor], Tensor], path: Path, progress: Progress
) -> Features:
    """What `compute` makes of each cached feature, kept likewise."""
    copies, n = features.array.shape[:2]
    batches = (torch.from_numpy(features.array[:, start : start + 16].astype(np.float32)) for start in range(0, n, 16))
    return Features(_kept(path, copies, n, batches, compute, progress), features.labels)


def _kept(
    path: Path,
    copies: int,
    n: int,
    batches: Iterator[Tensor],
    compute: Callable[[Tensor], Tensor],
    progress: Progress,
) -> Array:
    if not path.exists():
        partial = path.with_suffix(".partial")
        array: np.memmap[tuple[int, ...], np.dtype[np.float16]] | None = None
        done = 0
        with torch.no_grad():
            for batch in batches:
                computed = compute(batch.flatten(0, 1)).half().numpy()
                made = computed.reshape(copies, -1, *computed.shape[1:])
                if array is None:
                    array = np.lib.format.open_memmap(partial, "w+", np.float16, (copies, n, *made.shape[2:]))
                array[:, done : done + made.shape[1]] = made
                done += made.shape[1]
                progress(path.stem, done / n, f"{done} of {n} photographs")
        assert array is not None
        array.flush()
        shutil.move(partial, path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
