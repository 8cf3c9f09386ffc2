"""Checkpoints: the network, its compressed splits and their tables in one safetensors file of 16-bit weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from testbed.aecnn.compression import CompressedSplit, Layout
from testbed.aecnn.exits import EarlyExit
from testbed.aecnn.parts import exit_of
from testbed.aecnn.photographs import INPUT_PX
from testbed.aecnn.resnet import ResNet50, stage_channels
from testbed.jobs.profile import Profile

FORMAT = "testbed-aecnn-1"
DATA = Path(__file__).parent / "data"


class CheckpointError(ValueError):
    """A checkpoint, or the profile beside it, cannot be read."""


class Description(msgspec.Struct, frozen=True):
    """What the checkpoint's metadata say of it."""

    format: str
    width: float
    original: bool
    input_px: int
    classes: tuple[str, ...]
    splits: tuple[Layout, ...]
    exits: tuple[str, ...] = ()  # the stages after which the network can be left early
    recompressed: tuple[str, ...] = ()  # encodings of photographs sent whole, beside "raw" and "jpeg"


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint in memory, in float32, in evaluation mode."""

    path: Path
    sha256: str
    description: Description
    network: ResNet50
    splits: dict[str, CompressedSplit]  # by the names of their layouts
    exits: dict[str, EarlyExit]  # by their stage


def checkpoint_path(name_or_path: str | Path) -> Path:
    """The file of a checkpoint; "default" is the shipped one."""
    return DATA / "default.safetensors" if name_or_path == "default" else Path(name_or_path)


def profile_path(checkpoint: Path) -> Path:
    """The file of the profile beside a checkpoint."""
    return checkpoint.with_suffix(".profile.json")


def save_checkpoint(
    path: Path,
    network: ResNet50,
    width: float,
    classes: Sequence[str],
    splits: Sequence[CompressedSplit] = (),
    exits: Mapping[str, EarlyExit] | None = None,
    recompressed: Sequence[str] = (),
) -> None:
    """Write a checkpoint: matrices and kernels as float16, vectors as float32, tables as the integers they are."""
    exits = exits or {}
    description = Description(
        FORMAT,
        width,
        network.original,
        INPUT_PX,
        tuple(classes),
        tuple(split.layout for split in splits),
        tuple(exits),
        tuple(recompressed),
    )
    modules: dict[str, nn.Module] = {"network": network, **{split.layout.name: split for split in splits}}
    modules |= {exit_of(stage): early for stage, early in exits.items()}
    tensors = {
        f"{prefix}.{name}": _stored(tensor)
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    metadata = {"description": msgspec.json.encode(description).decode()}
    safetensors.torch.save_file(tensors, path, metadata)


def load_checkpoint(name_or_path: str | Path = "default") -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: there is no such file, or it is no checkpoint of this program's.
    """
    path = checkpoint_path(name_or_path)
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "pt") as file:
            described = (file.metadata() or {}).get("description", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = msgspec.json.decode(described, type=Description)
        if description.format != FORMAT:
            raise CheckpointError(f"{path}: format {description.format}, this is {FORMAT}")
        network = ResNet50(len(description.classes), description.width, original=description.original)
        _fill(network, "network", tensors)
        splits, exits = {}, {}
        for layout in description.splits:
            split = CompressedSplit(layout, description.width, description.input_px, original=description.original)
            _fill(split, layout.name, tensors)
            splits[layout.name] = split
        for stage in description.exits:
            exits[stage] = EarlyExit(stage_channels(stage, description.width), len(description.classes))
            _fill(exits[stage], exit_of(stage), tensors)
    except (OSError, SafetensorError, msgspec.DecodeError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from None
    return Checkpoint(path, sha256, description, network, splits, exits)


def save_profile(checkpoint: Path, profile: Profile) -> None:
    """Write the profile beside its checkpoint."""
    profile_path(checkpoint).write_bytes(msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n")


def load_profile(checkpoint: Path, sha256: str) -> Profile:
    """The profile beside a checkpoint. Raises CheckpointError if there is none, or it is another checkpoint's."""
    path = profile_path(checkpoint)
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path}: no profile: {error}") from None
    if profile.checkpoint != sha256:
        raise CheckpointError(f"{path}: profile of checkpoint {profile.checkpoint[:8]}..., this is {sha256[:8]}...")
    return profile


def _stored(tensor: Tensor) -> Tensor:
    stored = tensor.detach().half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor.detach().clone()
    return stored.contiguous()


def _fill(module: nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    start = f"{prefix}."
    state = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    module.load_state_dict(state)
    module.eval().requires_grad_(False)
