"""A device's connection to one edge: requests out, replies back by job id, made anew when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from testbed.runtime import sockets
from testbed.runtime.run_spec import NodeAddress
from testbed.runtime.wire import PORT, Reply, WarmUp, WireError, frame, read_frame

_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.2


class ConnectionLostError(Exception):
    """The edge cannot be reached, or went away before it answered."""


class Answer(msgspec.Struct, frozen=True):
    """A reply, and the instants (monotonic clock) at which its request was sent and it arrived."""

    reply: Reply
    sent_s: float
    answered_s: float


class EdgeConnection:
    """Keeps one TCP connection from a device to an edge for the length of a run."""

    def __init__(self, device: NodeAddress, edge: NodeAddress, congestion_control: str) -> None:
        self._device, self._edge, self._congestion_control = device, edge, congestion_control
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._fault = "not connected yet"
        self._pending: dict[int, asyncio.Future[tuple[Reply, float]]] = {}
        self._warmed: asyncio.Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a request could be sent now."""
        return self._connected.is_set()

    @property
    def unsent_bytes(self) -> int:
        """Bytes handed to the socket and not acknowledged yet."""
        if self._writer is None or self._writer.is_closing():
            return 0
        queued = self._writer.transport.get_write_buffer_size()
        return queued + sockets.unacknowledged_bytes(self._writer.get_extra_info("socket"))

    async def open(self, warm_up_bytes: int) -> None:
        """Connect, and open TCP's window by sending so many bytes that the edge drops.

        Raises:
            ConnectionLostError: the edge does not answer.
        """
        self._keeper = asyncio.create_task(self._keep())
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._connected.wait()
                self._warmed = asyncio.get_running_loop().create_future()
                self._send(frame(WarmUp(), bytes(warm_up_bytes)))
        except TimeoutError as error:
            raise ConnectionLostError(self._fault) from error
        await asyncio.wait_for(self._warmed, 60)

    async def ready(self, give_up_s: float) -> None:
        """Return when a request can be sent, or at the instant `give_up_s` (monotonic clock).

        Raises:
            ConnectionLostError: it was down until then.
        """
        if not self.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connected.wait(), max(0.0, give_up_s - time.monotonic()))
            if not self.connected:
                raise ConnectionLostError(self._fault)

    async def exchange(self, job_id: int, request: bytes) -> Answer:
        """Send a job's frame and wait for its answer, however long it takes.

        Raises:
            ConnectionLostError: the connection broke before the answer; the edge may have the job all the same.
        """
        future: asyncio.Future[tuple[Reply, float]] = asyncio.get_running_loop().create_future()
        self._pending[job_id] = future
        sent_s = time.monotonic()
        try:
            self._send(request)
            reply, answered_s = await future
        finally:
            self._pending.pop(job_id, None)
        return Answer(reply, sent_s, answered_s)

    async def close(self) -> None:
        """End the connection; whoever waits for an answer is told."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._drop("the run is over")

    def _send(self, data: bytes) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ConnectionLostError(self._fault)
        self._writer.write(data)

    async def _keep(self) -> None:
        while True:
            try:
                reader = await self._connect()
                await self._read(reader)
            except (OSError, asyncio.IncompleteReadError, WireError, TimeoutError) as error:
                self._drop(_described(error))
            await asyncio.sleep(_RECONNECT_PAUSE_S)

    async def _connect(self) -> asyncio.StreamReader:
        connecting = sockets.connecting(self._device.pid, self._device.address, self._congestion_control)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(connecting, (self._edge.address, PORT))
            reader, self._writer = await asyncio.open_connection(sock=connecting)
        except BaseException:
            connecting.close()
            raise
        self._connected.set()
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            message, _ = await read_frame(reader)
            arrived_s = time.monotonic()
            if isinstance(message, Reply):
                waiting = self._pending.get(message.job_id)
                if waiting and not waiting.done():
                    waiting.set_result((message, arrived_s))
            elif isinstance(message, WarmUp) and self._warmed and not self._warmed.done():
                self._warmed.set_result(None)

    def _drop(self, fault: str) -> None:
        self._fault = fault
        self._connected.clear()
        if self._writer:
            self._writer.transport.abort()
            self._writer = None
        error = ConnectionLostError(fault)
        for waiting in (*self._pending.values(), self._warmed):
            if waiting and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # nobody may be waiting any more: that is not worth a warning


def _described(error: BaseException) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "the edge closed the connection"
    if isinstance(error, TimeoutError):
        return f"no connection within {_CONNECT_TIMEOUT_S:g} s"
    return str(error) or type(error).__name__
