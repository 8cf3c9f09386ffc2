"""How policies of either kind are made from what users write: classes imported, constructed, told of encodings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from testbed.jobs.profile import Profile
from testbed.offloading.errors import PolicyError

Made = TypeVar("Made")


def imported(name: str) -> Callable[..., Any]:
    """The class of a user's own that `package.module:Class` names.

    Raises:
        PolicyError: it cannot be imported, or is not a policy.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise PolicyError(f"policy '{name}': cannot import {module_name} ({reason})") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise PolicyError(f"policy '{name}': {module_name} has no class '{class_name}'")
    if not any(callable(getattr(found, method, None)) for method in ("decide", "decide_slot")):
        raise PolicyError(f"policy '{name}': the class has no method decide(observation), nor decide_slot(observation)")
    return found


def constructed(name: str, factory: Callable[..., Made], keywords: Mapping[str, object]) -> Made:
    """The policy that its class makes of the options.

    Raises:
        PolicyError: it cannot be made with them.
    """
    try:
        return factory(**keywords)
    except PolicyError:
        raise
    except Exception as error:  # a wrong option is a TypeError, and a user's class may raise anything
        reason = str(error).removeprefix(f"{getattr(factory, '__name__', '')}.__init__() ")
        raise PolicyError(f"policy '{name}': cannot be made with {dict(keywords)}: {reason}") from error


def without_encodings(name: str, options: Mapping[str, object]) -> tuple[tuple[str, ...] | None, dict[str, object]]:
    """The option `encodings`, None if it is not given, and the other options.

    Raises:
        PolicyError: it is no list of names.
    """
    rest = dict(options)
    given = rest.pop("encodings", None)
    if given is None:
        return None, rest
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise PolicyError(f"policy '{name}': encodings must be a list of names, such as [raw, jpeg, aecnn]")
    return tuple(given), rest


def check_encodings(encodings: Collection[str] | None, profile: Profile) -> None:
    """Goes on if the profile has all of the encodings.

    Raises:
        PolicyError: naming those that it has.
    """
    if unknown := sorted(set(encodings or ()).difference(profile.encodings)):
        raise PolicyError(
            f"encodings: the checkpoint's profile has no {', '.join(unknown)}; it has {', '.join(profile.encodings)}"
        )
