"""The board's slots: what readers see while one writer goes on, and when it dies in the midst."""

import math
import mmap
import struct

import pytest

from testbed.runtime.paths import Hop
from testbed.runtime.slot_board import Posting, SlotBoard

DEVICES, EDGES = ("dev1", "dev2"), ("edge1", "edge2")


def posting(number: int) -> dict[str, Posting]:
    return {"dev1": Posting(number, "edge2", Hop(3, "down"), 0.5, 1e6), "dev2": Posting(number + 1, None)}


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, 16 + SlotBoard.size(len(DEVICES)))


@pytest.fixture
def board(memory: mmap.mmap) -> SlotBoard:
    return SlotBoard(memory, 16, DEVICES, EDGES)


def test_nothing_is_posted_at_first(board: SlotBoard) -> None:
    assert (board.posted("dev1", 5), board.newest(), board.newest_slot()) == (None, None, None)


def test_the_slot_that_is_can_be_read_while_the_next_is_posted_already(board: SlotBoard) -> None:
    for slot in range(4):
        board.post(slot, posting(slot))
    assert board.newest() == (3, posting(3)) and board.newest_slot() == 3
    assert board.posted("dev1", 2) == (2, Posting(2, "edge2", Hop(3, "down"), 0.5, 1e6))
    assert board.posted("dev2", 3) == (3, Posting(4, None, None, 1.0, math.inf))
    assert board.posted("dev2", 90) == (3, Posting(4, None, None, 1.0, math.inf))
    assert board.posted("dev1", 1) is None  # overwritten
    board.clear()
    assert board.newest() is None


def test_a_writer_killed_in_the_midst_leaves_the_slot_before(board: SlotBoard, memory: mmap.mmap) -> None:
    board.post(0, posting(0))
    board.post(1, posting(1))
    older = 16  # the buffer that slot 2 would be written to
    (sequence,) = struct.unpack_from("=q", memory, older)
    struct.pack_into("=qq", memory, older, sequence | 1, 3)
    assert board.newest() == (1, posting(1)) and board.newest_slot() == 1
    assert board.posted("dev1", 2) == (1, posting(1)["dev1"])
    again = SlotBoard(memory, 16, DEVICES, EDGES)
    again.post(2, posting(2))
    assert board.newest() == (2, posting(2))
