"""The errors of this room: each says what was attempted, what was found, and what to do."""

from __future__ import annotations


class NetworkError(Exception):
    """Something about an emulated network could not be done."""


class RefusedError(NetworkError):
    """What was asked cannot be asked, as things stand; nothing was changed (exit status 2)."""


class NotRootError(RefusedError):
    """The caller is not root."""


class BusyError(RefusedError):
    """Another command is at work on the same testbed."""


class AlreadyUpError(RefusedError):
    """A testbed of that name exists already."""


class NotUpError(RefusedError):
    """No testbed of that name, or none at all, is up."""


class AmbiguousError(RefusedError):
    """Several testbeds are up, and none was named."""


class ShapingUnavailableError(RefusedError):
    """This kernel cannot shape links in the way that was asked for."""
