"""Finds a class of one's own, and refuses, before anything is computed, what cannot be run as a model."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from testbed.aecnn.own.adapted import AdaptedModel
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.photographs import INPUT_PX
from testbed.aecnn.whole_photograph import encode_whole
from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option
from testbed.jobs.profile import Profile

MAX_PX = 1024
"""Height and width of the largest photographs that a class may ask for; they travel raw within a frame."""

_STAGES = {
    "head": ("pixels", "option"),
    "encode": ("features", "option", "image"),
    "decode": ("payload", "option", "image"),
    "tail": ("features", "option"),
}
_LISTS = {"classes": (str, "('cat', 'dog')"), "options": (Option, "(LOCAL, RAW, JPEG)")}

_NO_SPLIT = (
    "a split has a method as its encoding, and an operating point of at least 1 channel and 1 to 32 bits, such as "
    'Option(Kind.SPLIT, "mine", OperatingPoint("block3", kept_channels=8, bits=4))'
)


def load_own(name: str) -> AdaptedModel:
    """The model that `package.module:Class` makes.

    Raises:
        ModelError: it cannot be imported or made, lacks what a model has, or has options that contradict each other.
    """
    try:
        own = _made(_imported(name))
        for stage, arguments in _STAGES.items():
            _check_stage(own, stage, arguments)
        for attribute, (kind, example) in _LISTS.items():
            _check_list(attribute, getattr(own, attribute, None), kind, example)
        _check_options(own.options)
        _check_optional(own)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error.__cause__
    return AdaptedModel(name, own)


def _imported(name: str) -> type:
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise ModelError(
            f"cannot import {module_name} ({type(error).__name__}: {error}); "
            "modules are looked for in the folder that the command is called in, then on PYTHONPATH"
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise ModelError(f"{module_name} has no class '{class_name}'")
    return found


def _made(found: type) -> Any:
    try:
        return found()
    except Exception as error:  # a user's class may raise anything
        raise ModelError(
            f"cannot be made without arguments ({type(error).__name__}: {error}): "
            "let __init__ find all that it needs by itself"
        ) from error


def _check_stage(own: object, stage: str, arguments: tuple[str, ...]) -> None:
    called = f"{stage}({', '.join(arguments)})"
    method = getattr(own, stage, None)
    if not callable(method):
        raise ModelError(f"has no method {called}: write it, as OwnModel in testbed/aecnn/own/protocol.py has it")
    signature = inspect.signature(method)
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ModelError(f"has {stage}{signature}, and is called as {called}: let it take these") from None


def _check_list(attribute: str, found: object, kind: type, example: str) -> None:
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise ModelError(f"{attribute} must be a tuple, such as {example}, found {found!r:.80}")
    for index, each in enumerate(found):
        if not isinstance(each, kind):
            raise ModelError(f"{attribute} has {each!r:.80}, which is no {kind.__name__}: write such as {example}")
        if each in found[:index]:
            raise ModelError(f"{attribute} has '{each}' twice: name it once")


def _check_options(options: Sequence[Option]) -> None:
    for option in options:
        if fault := _fault(option):
            raise ModelError(f"options has {option!r}: {fault}")
    if LOCAL not in options:
        raise ModelError("options has no LOCAL: add it, and let head(pixels, LOCAL) give the whole network's class")


def _fault(option: Option) -> str | None:
    if not isinstance(option.kind, Kind):
        return "there is no such kind, write Kind.LOCAL, Kind.FULL or Kind.SPLIT"
    try:
        msgspec.convert(msgspec.to_builtins(option), Option)  # a struct does not look at what it is made of
    except (msgspec.ValidationError, TypeError) as error:
        return f"{error}"
    if option.kind is Kind.SPLIT:
        return None if option.encoding and _possible(option.point) else _NO_SPLIT
    if option.point is not None:
        return "only a split has an operating point, leave it out"
    if option.kind is Kind.FULL:
        try:
            encode_whole(np.zeros((8, 8, 3), np.uint8), option)
        except ValueError as error:
            return f"{error}, nor raw nor jpeg"
    return None


def _possible(point: OperatingPoint | None) -> bool:
    return point is not None and bool(point.split) and point.kept_channels >= 1 and 1 <= point.bits <= 32


def _check_optional(own: Any) -> None:
    profile, fingerprint = getattr(own, "profile", None), getattr(own, "fingerprint", None)
    input_px = getattr(own, "input_px", INPUT_PX)
    if profile is not None:
        if not isinstance(profile, Profile):
            raise ModelError(f"profile must be a testbed Profile, found {profile!r:.80}: without one it is measured")
        if lacking := [option for option in own.options if option not in profile.by_option]:
            raise ModelError(f"profile has no row for '{lacking[0]}': add it, or let the profile be measured")
    if fingerprint is not None and not isinstance(fingerprint, str):
        raise ModelError(f"fingerprint must be text, found {fingerprint!r:.80}")
    if not isinstance(input_px, int) or not 1 <= input_px <= MAX_PX:
        raise ModelError(f"input_px must be a whole number from 1 to {MAX_PX}, found {input_px!r:.80}")
