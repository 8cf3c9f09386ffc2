"""A device's connection to one edge: requests out, replies back by job id, made anew when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import msgspec

from testbed.runtime import sockets
from testbed.runtime.run_spec import NodeAddress
from testbed.runtime.tally import Tally
from testbed.runtime.wire import PORT, Reply, WarmUp, WireError, frame, read_frame

_CONNECT_TIMEOUT_S = 5.0
_OPEN_WITHIN_S = 20.0  # a link that loses much may defeat an attempt to connect, or two
_WARM_UP_WITHIN_S = 60.0
_WARM_UPS = 3  # losses in a row may outlast TCP's patience: then over another connection
_RECONNECT_PAUSE_S = 0.2


class ConnectionLostError(Exception):
    """The edge cannot be reached, or went away before it answered."""


class Answer(msgspec.Struct, frozen=True):
    """A reply, and the instants (monotonic clock) at which its request was sent and it arrived."""

    reply: Reply
    sent_s: float
    answered_s: float


class EdgeConnection:
    """Keeps one TCP connection from a device to an edge for the length of a run, and tallies what it sends.

    Connections end silently: what TCP sent after its counts were read would be explained by nothing.
    """

    def __init__(self, device: NodeAddress, edge: str, congestion_control: str, tally: Tally) -> None:
        self._device, self._edge, self._congestion_control, self.tally = device, edge, congestion_control, tally
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
        self.connect()
        warm_up = frame(WarmUp(), bytes(warm_up_bytes))
        for _ in range(_WARM_UPS):
            if await self._warm_up(warm_up):
                return
        raise ConnectionLostError(self._fault)

    def connect(self) -> None:
        """Begin to connect, for as long as it takes."""
        self._keeper = asyncio.create_task(self._keep())

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

    def send(self, request: bytes) -> float:
        """Hand a job's frame to the socket; returns that instant.

        Raises:
            ConnectionLostError: there is no connection, and nothing was sent.
        """
        sent_s = time.monotonic()
        self._send(request)
        self.tally.written_bytes += len(request)
        return sent_s

    async def answer(self, job_id: int, sent_s: float) -> Answer:
        """Wait for the answer to a job sent at that instant, however long it takes.

        Raises:
            ConnectionLostError: the connection broke before the answer; the edge may have the job all the same.
        """
        future: asyncio.Future[tuple[Reply, float]] = asyncio.get_running_loop().create_future()
        self._pending[job_id] = future
        try:
            reply, answered_s = await future
        finally:
            self._pending.pop(job_id, None)
        return Answer(reply, sent_s, answered_s)

    async def close(self, why: str = "the run is over") -> None:
        """End the connection; whoever waits for an answer is told why."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._drop(why)

    async def _warm_up(self, warm_up: bytes) -> bool:
        """Whether the edge has answered; not if the connection broke before.

        Raises:
            ConnectionLostError: there is none, or it is too slow.
        """
        try:
            async with asyncio.timeout(_OPEN_WITHIN_S):
                await self._connected.wait()
        except TimeoutError as error:
            raise ConnectionLostError(self._fault) from error
        self._warmed = asyncio.get_running_loop().create_future()
        try:
            self._send(warm_up)
            self.tally.warm_up_bytes += len(warm_up)
            await asyncio.wait_for(self._warmed, _WARM_UP_WITHIN_S)
        except ConnectionLostError:
            return False
        except TimeoutError as error:
            raise ConnectionLostError(f"{len(warm_up)} bytes took over {_WARM_UP_WITHIN_S:g} s") from error
        return True

    def _send(self, data: bytes) -> None:
        if self._writer is None or self._writer.is_closing():
            self._connected.clear()  # whoever tries again should wait for the next connection
            raise ConnectionLostError(self._fault)
        self._writer.write(data)

    async def _keep(self) -> None:
        while True:
            try:
                await self._hold(sockets.connecting(self._device.pid, self._device.address, self._congestion_control))
            except (OSError, asyncio.IncompleteReadError, WireError, TimeoutError) as error:
                self._drop(_described(error))
            await asyncio.sleep(_RECONNECT_PAUSE_S)

    async def _hold(self, connecting: socket.socket) -> None:
        handle = sockets.Handle(connecting)
        try:
            await self._read(await self._connect(connecting))
        finally:
            self.tally.add(handle.end(silently=True), accepted=False)

    async def _connect(self, connecting: socket.socket) -> asyncio.StreamReader:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(connecting, (self._edge, PORT))
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
    if isinstance(error, TimeoutError) and error.errno is None:  # ours; TCP's has a number
        return f"no connection within {_CONNECT_TIMEOUT_S:g} s"
    return str(error) or type(error).__name__
