"""Learners on the data published with DROO, as a table of the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.experiments.droo_data import FIRST, LAST, STRANGE, Frames, compare
from testbed.experiments.mat_file import MatFileError, load_matrices
from testbed.experiments.tables import Table


def load_frames(folder: Path) -> dict[int, Frames]:
    """The files `data_N.mat` of a folder, by their number of devices.

    Raises:
        MatFileError: one cannot be read, or that of ten devices is missing.
        OSError: the folder cannot be read.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if re.fullmatch(r"data_\d+\.mat", path.name):
            read = load_matrices(path)
            if not {"input_h", "output_obj"} <= read.keys():
                raise MatFileError(f"{path}: has no input_h and output_obj")
            frames = Frames(read["input_h"], read["output_obj"][:, 0])
            found[frames.devices] = frames
    if STRANGE not in found:
        raise MatFileError(f"{folder}: has no data_{STRANGE}.mat, as published with DROO")
    return found


def on_published(
    files: dict[int, Frames], seeds: Sequence[int], frames: int | None, told: Callable[[str, float, str], None]
) -> Table:
    """DROO, and GRL with and without having met ten devices, on the published channels."""
    rows = []
    of = len(seeds) * (3 if len(files) > 1 else 2)
    for one in compare(files, seeds, frames):
        cells = (f"{one.first:.4f}", f"{one.last:.4f}", f"{one.own_last:.4f}", f"{one.candidates:.1f}")
        times = (f"{one.frame_ms:.1f}", f"{one.decision_ms:.1f}")
        rows.append((one.learner, str(one.seed), str(one.frames), *cells, *times))
        told("DROO's data", len(rows) / of, f"{len(rows)} of {of}")
    headings = (
        "learner",
        "seed",
        "frames",
        f"first {FIRST:,}",
        f"last {LAST:.0%}",
        "first candidate alone",
        "judged a frame",
        "ms a frame",
        "ms to decide",
    )
    note = (
        f"Shares of the optimum, {STRANGE} devices; all candidates are judged by the same solver. What learnt at other "
        "numbers of devices learns nothing here. DROO's authors' code: 0.979 over the first 1,000 of 30,000 frames, "
        "0.9997 over the last fifth, 0.996 by the first candidate alone, 25 ms a frame."
    )
    return Table("On DROO's published data", headings, tuple(rows), note=note)
