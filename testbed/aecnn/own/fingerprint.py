"""What the payloads and predictions of a class of one's own depend on: its source, and what its attributes hold."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import testbed
from testbed.aecnn.own.protocol import ModelError

_INSTALLED = [Path(folder).resolve() for folder in {sys.prefix, *sysconfig.get_paths().values()}]

_Held = Tensor | NDArray[Any] | str | bytes | int | float


def fingerprint_of(name: str, own: Any) -> str:
    """The class's own `fingerprint`, or else a hash of its source and of what its attributes hold.

    Raises:
        ModelError: it has no `fingerprint`, nor any array among its attributes that could be its weights.
    """
    digest = hashlib.sha256()
    given = getattr(own, "fingerprint", None)
    if given is not None:
        digest.update(given.encode())
    else:
        for source in sorted(_sources(type(own).__module__)):
            digest.update(source.read_bytes())
        held = list(_held([vars(own), vars(type(own))], {}))
        if not any(isinstance(each, Tensor | np.ndarray) for each in held):
            raise ModelError(
                f"{name}: has no torch module, tensor or array among its attributes, so that nobody can tell when its "
                "weights change: give it a `fingerprint`, such as the SHA-256 of their file"
            )
        for each in held:
            digest.update(_bytes(each))
    return f"{name} {digest.hexdigest()}, testbed {testbed.__version__}, torch {torch.__version__}"


def _sources(start: str) -> set[Path]:
    """The files of a module and of all that it says it imports, wherever it says so, but for installed packages."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        spec = _own_spec(waiting.pop())
        if spec is None or spec.origin is None or (path := Path(spec.origin)) in found:
            continue
        found.add(path)
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [imported.name for imported in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = importlib.util.resolve_name("." * node.level + (node.module or ""), spec.parent)
                waiting += [module, *(f"{module}.{imported.name}" for imported in node.names)]
    return found


def _own_spec(name: str) -> ModuleSpec | None:
    """Where a module comes from, if it is a file of the user's own."""
    top = name.partition(".")[0]
    try:
        if top == "testbed" or _is_installed(importlib.util.find_spec(top)):
            return None  # what is in it is not looked for, as that would import it
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a class or function of a module, or a module that is not there
        return None
    return None if _is_installed(spec) else spec


def _is_installed(spec: ModuleSpec | None) -> bool:
    if spec is None:
        return True
    places = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations or []
    return all(any(Path(place).resolve().is_relative_to(folder) for folder in _INSTALLED) for place in places)


def _held(value: Any, seen: dict[int, object]) -> Iterator[_Held]:
    """Arrays, numbers and text within a value, however deep."""
    if id(value) in seen:
        return
    seen[id(value)] = value  # which also keeps it, so that no other gets its id
    match value:
        case Tensor() | np.ndarray() | str() | bytes() | int() | float():
            yield value
        case type() | ModuleType() | FunctionType() | MethodType():
            pass  # the source has them
        case list() | tuple():
            for each in value:
                yield from _held(each, seen)
        case Mapping():
            for each in value.values():
                yield from _held(each, seen)
        case _ if hasattr(value, "__dict__"):
            yield from _held(vars(value), seen)


def _bytes(held: _Held) -> bytes:
    match held:
        case Tensor():
            flat = held.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return f"{held.dtype} {held.shape}".encode() + flat.numpy().tobytes()
        case np.ndarray():
            return f"{held.dtype} {held.shape}".encode() + held.tobytes()
    return repr(held).encode()
