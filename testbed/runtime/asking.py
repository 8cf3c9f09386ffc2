"""Ray's actors by their names and machines, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class AssemblyError(Exception):
    """A process of the testbed is gone, or could not do what it was asked."""


class Asking:
    """Starts and finds actors, and waits for what they answer."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def actor(self, cls: Callable[..., object], name: str, machine: str, **options: Any) -> Any:
        """What makes an actor on a machine, by a call of `remote`: one of that name which outlives the command."""
        return self.ray.remote(cls).options(name=name, lifetime="detached", **on(machine), **options)

    def found(self, name: str) -> Any:
        """The actor of that name.

        Raises:
            AssemblyError: there is none.
        """
        try:
            return self.ray.get_actor(name)
        except ValueError as error:
            raise AssemblyError(f"the process of {name} is gone; run `testbed down`, then up again") from error

    def get(self, waiting: Any, who: str, within_s: float | None = None) -> Any:
        """What an actor answers; raises as `answered` does."""
        return self.answered(lambda: self.ray.get(waiting, timeout=within_s), who)

    def answered(self, answer: Callable[[], Any], who: str) -> Any:
        """What `answer` gives of an actor.

        Raises:
            AssemblyError: the actor could not do it, has died, or does not answer in time.
        """
        exceptions = self.ray.exceptions
        try:
            return answer()
        except exceptions.RayTaskError as error:
            raise AssemblyError(str(error.cause or error)) from error
        except exceptions.RayError as error:
            raise AssemblyError(f"the process of {who} died: {_first_line(error)}") from error


def on(machine: str) -> dict[str, Any]:
    """The options that place an actor on a machine."""
    return {"num_cpus": 0, "resources": {f"machine:{machine}": 1}}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
