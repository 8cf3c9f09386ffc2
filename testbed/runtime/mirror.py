"""One machine's words on another machine's board: told over the control plane, while runs go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from testbed.runtime.board import Board

PAUSE_S = 0.02
"""Between two tellings: by so much, and the way, is what a machine knows of another one older."""


class News(msgspec.Struct, frozen=True, array_like=True):
    """Words that have changed, and their values; instants are of the clock of the machine that tells."""

    words: list[int]
    values: list[float]


class Mirror:
    """Tells one other machine of the words that are written on this one, as they change, until stopped."""

    def __init__(self, board: Board, words: Sequence[int], tell: Callable[[bytes], None]) -> None:
        """Begins to tell.

        Args:
            board: this machine's.
            words: those whose writers are on this machine.
            tell: takes msgpack of `News` to the other machine, and returns when it is there. What it raises ends it:
                the other machine is gone, which is noticed elsewhere.
        """
        self._board, self._words, self._tell = board, list(words), tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="mirror")
        self._thread.start()

    def stop(self) -> None:
        """End it; waits for no answer."""
        self._stopping.set()

    @property
    def lives(self) -> bool:
        """Whether it still tells."""
        return self._thread.is_alive()

    def _work(self) -> None:
        told: list[float] = []
        while not self._stopping.is_set():
            values = self._board.read(self._words)
            changed = [place for place, value in enumerate(values) if not told or value != told[place]]
            if changed:
                news = News([self._words[place] for place in changed], [values[place] for place in changed])
                try:
                    self._tell(msgspec.msgpack.encode(news))
                except Exception:  # Ray's errors, which this room does not name
                    return
                told = values
            self._stopping.wait(PAUSE_S)


def hear(board: Board, news: bytes, ahead_s: float) -> None:
    """Write what another machine told to this machine's board.

    Args:
        board: this machine's.
        news: msgpack of `News`.
        ahead_s: how far the other machine's monotonic clock is ahead of this one's.
    """
    told = msgspec.msgpack.decode(news, type=News)
    instants = board.instants
    board.write(
        told.words,
        [value - ahead_s if word in instants else value for word, value in zip(told.words, told.values, strict=True)],
    )
