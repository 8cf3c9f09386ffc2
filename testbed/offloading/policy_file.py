"""Files of arrays and what describes them: safetensors, with text as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from testbed.offloading.errors import PolicyError


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], file_format: str, description: str) -> None:
    """Writes a file whole, or leaves what was there."""
    part = path.with_name(f"{path.name}.part")
    metadata = {"format": file_format, "description": description}
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    safetensors.numpy.save_file(contiguous, part, metadata)
    part.replace(path)


def load_arrays(path: Path, file_format: str) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """The arrays of a file and its description.

    Raises:
        PolicyError: it cannot be read, or is of another format.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from None
    if metadata.get("format") != file_format:
        raise PolicyError(f"{path}: its format is {metadata.get('format', 'unknown')}; {file_format} is needed")
    return arrays, metadata["description"]
