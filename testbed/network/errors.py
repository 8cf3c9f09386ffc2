"""The errors of this room: each says what was attempted, what was found, and what to do."""

from __future__ import annotations


class NetworkError(Exception):
    """Something about an emulated network could not be done."""


class BusyError(NetworkError):
    """Another command is at work on the same testbed."""


class AlreadyUpError(NetworkError):
    """A testbed of that name exists already."""


class NotUpError(NetworkError):
    """No testbed of that name, or none at all, is up."""


class AmbiguousError(NetworkError):
    """Several testbeds are up, and none was named."""


class ShapingUnavailableError(NetworkError):
    """This kernel cannot shape links in the way that was asked for."""
