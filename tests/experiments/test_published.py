"""DROO's published files, read without MATLAB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from testbed.experiments.mat_file import MatFileError, load_matrices
from testbed.experiments.policies.published import load_frames, on_published
from tests.experiments.test_droo_data import frames_of


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name: str, values: np.ndarray, kind: int, numbers: str, compressed: bool) -> bytes:
    short = name.encode()
    named = struct.pack("<HH", 1, len(short)) + short.ljust(4, b"\0") if len(short) <= 4 else element(1, short)
    body = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", *values.shape)) + named
    whole = element(14, body + element(kind, values.astype(numbers).tobytes(order="F")))
    packed = zlib.compress(whole)
    return struct.pack("<II", 15, len(packed)) + packed if compressed else whole


def written(path: Path, *matrices: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(matrices))
    return path


def test_matrices_are_read_whole_compressed_and_of_any_number(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    read = load_matrices(
        written(
            tmp_path / "a.mat",
            matrix("input_h", values / 7, 9, "<f8", compressed=True),
            matrix("h", values, 2, "u1", compressed=False),
            matrix("output", values, 4, "<u2", compressed=True),
        )
    )
    np.testing.assert_array_equal(read["input_h"], values / 7)
    np.testing.assert_array_equal(read["h"], values)
    np.testing.assert_array_equal(read["output"], values)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data_10.mat").write_bytes(b"PK")
    with pytest.raises(MatFileError, match=r"data_10\.mat: not a little-endian MATLAB file"):
        load_frames(tmp_path)
    cut = written(tmp_path / "data_10.mat", matrix("input_h", np.ones((9, 2)), 9, "<f8", compressed=False)[:-20])
    with pytest.raises(MatFileError, match="ends too early"):
        load_matrices(cut)
    written(tmp_path / "data_10.mat", matrix("input_h", np.ones((9, 10)), 9, "<f8", compressed=False))
    with pytest.raises(MatFileError, match="no input_h and output_obj"):
        load_frames(tmp_path)
    cut.unlink()
    with pytest.raises(MatFileError, match=r"has no data_10\.mat"):
        load_frames(tmp_path)


def test_learners_on_files_become_a_table(tmp_path: Path) -> None:
    for devices in (4, 10):
        frames = frames_of(devices, 30)
        gains = matrix("input_h", frames.gains, 9, "<f8", compressed=True)
        written(
            tmp_path / f"data_{devices}.mat",
            gains,
            matrix("output_obj", frames.optimum[:, None], 9, "<f8", compressed=True),
        )
    heard = []
    table = on_published(load_frames(tmp_path), [1], 20, lambda stage, done, note: heard.append(done))
    assert [row[0] for row in table.rows] == ["droo", "grl", "grl learnt at 4"]
    assert heard == pytest.approx([1 / 3, 2 / 3, 1])
    assert all(0.3 < float(row[4]) <= 1 for row in table.rows)
