"""ONNX Runtime: the network's parts exported from torch, once for each checkpoint, and run on one thread."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

EXPORT = 1
"""To be raised whenever what is exported changes."""


class OnnxRuntime:
    """Runs parts by ONNX Runtime, one thread each; a part is exported when it is first asked for, unless it has been.

    Exported parts are kept in `~/.cache/testbed/onnx/`, by the checkpoint's hash and the releases that made them.
    """

    version = f"onnxruntime {onnxruntime.__version__}"

    def __init__(self, parts: Mapping[str, nn.Module], checkpoint_sha256: str) -> None:
        self._parts = parts
        self._folder = _folder(checkpoint_sha256)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, part: str, x: Tensor) -> Tensor:
        """One photograph through a part."""
        if part not in self._sessions:
            path = self._folder / f"{part}.onnx"
            if not path.exists():
                _export(self._parts[part], x, path)
            self._sessions[part] = _session(path)
        (computed,) = self._sessions[part].run(None, {"x": x.numpy()})
        return torch.from_numpy(computed)


def _folder(checkpoint_sha256: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_by = f"{checkpoint_sha256} {EXPORT} {torch.__version__} {onnxruntime.__version__}"
    return cache / "testbed" / "onnx" / hashlib.sha256(made_by.encode()).hexdigest()[:24]


def _export(part: nn.Module, x: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")  # another process may export the same meanwhile
    with warnings.catch_warnings(), torch.no_grad():
        # the exporter that follows the one deprecated here needs further packages, and straight-line networks do not
        warnings.simplefilter("ignore")
        torch.onnx.export(part, (torch.zeros_like(x),), unfinished, dynamo=False, input_names=["x"], output_names=["y"])
    unfinished.rename(path)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
