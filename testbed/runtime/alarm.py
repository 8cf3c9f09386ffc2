"""Waking at an instant, finer than asyncio's clock: its epoll rounds a sleep up to whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import time

_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Wakes coroutines of one event loop at instants of `time.monotonic()`, by one timerfd."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop.add_reader(self._fd, self._ring)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._spec = _Itimerspec()  # an interval of zero: it rings once
        self._address = ctypes.byref(self._spec)

    async def until(self, instant_s: float) -> None:
        """Return at the instant, or at once where it has passed."""
        if instant_s <= time.monotonic():
            return
        sleeper = self._loop.create_future()
        heapq.heappush(self._sleepers, (instant_s, next(self._order), sleeper))
        if self._sleepers[0][2] is sleeper:
            self._set(instant_s)
        await sleeper

    def close(self) -> None:
        """Give the timer back; whoever still sleeps is cancelled."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        for _, _, sleeper in self._sleepers:
            sleeper.cancel()
        self._sleepers.clear()

    def _set(self, instant_s: float) -> None:
        value = self._spec.value
        value.seconds = whole = int(instant_s)
        value.nanoseconds = max(1, int((instant_s - whole) * 1e9))  # all zero would disarm it
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, self._address, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        now = time.monotonic()
        while self._sleepers and self._sleepers[0][0] <= now:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
        if self._sleepers:
            self._set(self._sleepers[0][0])
