"""What becomes exit status 2."""

from __future__ import annotations


class WrongInputError(Exception):
    """An argument that no document holds is wrong; the message says what is allowed."""
