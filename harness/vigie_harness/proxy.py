"""A TCP proxy on loopback whose connections can be cut, reset, delayed, throttled, swallowed and refused.

It stands before a Kafka node (which then tells clients the proxy's port) or before PostgreSQL (whose Unix socket it can
speak to as well). It runs in a thread of this process; every method may be called from any thread.
"""

import asyncio
import contextlib
import dataclasses
import enum
import socket
import struct
import threading

from .ports import free_port

_BLOCK = 1 << 16


class Direction(enum.Flag):
    """Which way a fault is for. A fault of answers only lets requests be done whose results nobody learns."""

    TO_SERVER = enum.auto()
    TO_CLIENT = enum.auto()
    BOTH = TO_SERVER | TO_CLIENT


@dataclasses.dataclass
class Faults:
    """What is wrong now."""

    delay: float = 0.0
    """Seconds that every block of bytes takes longer."""
    rate: float | None = None
    """Bytes a second of one connection and one direction; None is as fast as can be."""
    swallows: Direction | None = None
    """What comes is taken and goes nowhere: nobody answers, nobody closes."""
    refuses: bool = False
    """Nobody listens on the port."""
    affects: Direction = Direction.BOTH
    """What delay and rate are for."""


@dataclasses.dataclass
class Counts:
    """What has happened since the proxy was made."""

    connections: int = 0
    cut: int = 0
    reset: int = 0
    refused_by_server: int = 0
    swallowed_bytes: int = 0
    bytes_to_server: int = 0
    bytes_to_client: int = 0


class TcpProxy:
    """Passes connections to 127.0.0.1:`port` on to `target`: a port of loopback, or the path of a Unix socket.

    `target` may be set later and changed; connections that are open keep theirs.

    faults: how it is now. counts: what happened.
    """

    def __init__(self, target: int | str | None = None, port: int | None = None):
        self.target = target
        self.faults = Faults()
        self.counts = Counts()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = self._run(self._listen_first(port))

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    # Faults of the connections that are open now

    def cut(self) -> int:
        """Closes all in order, as a peer that ends. How many they were."""
        return self._run(self._end_all(with_reset=False))

    def reset(self) -> int:
        """Ends all by a reset, as a peer that has lost its state. How many they were."""
        return self._run(self._end_all(with_reset=True))

    # Faults that last until `heal`, of these and of later connections

    def delay(self, seconds: float, direction: Direction = Direction.BOTH) -> None:
        """Lets everything come later; the order stays."""
        self._set(delay=seconds, affects=direction)

    def throttle(self, bytes_per_second: float, direction: Direction = Direction.BOTH) -> None:
        """Limits what each connection gets."""
        self._set(rate=bytes_per_second, affects=direction)

    def swallow(self, direction: Direction = Direction.BOTH) -> None:
        """Lets everything disappear, in connections that are open and in new ones: a black hole.

        The connection to the server of a new one is not made while requests are swallowed.
        """
        self._set(swallows=direction)

    def refuse(self) -> None:
        """Refuses new connections, and resets those that are open."""
        self._run(self._refuse())

    def heal(self, resets_swallowed: bool = True) -> None:
        """Ends all faults that last.

        Connections that have lost bytes can never work again. They are reset, or stay black holes for ever, as those do
        behind a router that has forgotten them.
        """
        self._run(self._heal(resets_swallowed))

    def close(self) -> None:
        """Resets everything, and ends the proxy."""
        if self._loop.is_closed():
            return
        self._run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # In the proxy's thread

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _set(self, **faults) -> None:
        async def change():
            self.faults = dataclasses.replace(self.faults, **faults)

        self._run(change())

    async def _listen_first(self, port: int | None) -> int:
        while True:
            chosen = port or free_port()
            try:
                await self._listen(chosen)
                return chosen
            except OSError:
                if port:
                    raise

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_BLOCK, backlog=512)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts.connections += 1
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _end_all(self, with_reset: bool) -> int:
        ended = list(self._connections)
        for connection in ended:
            connection.end(with_reset)
        if with_reset:
            self.counts.reset += len(ended)
        else:
            self.counts.cut += len(ended)
        return len(ended)

    async def _refuse(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        self.faults = dataclasses.replace(self.faults, refuses=True)
        await self._end_all(with_reset=True)

    async def _finish(self) -> None:
        """Resets everything, and waits until nothing of it is left."""
        await self._refuse()
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=5)

    async def _heal(self, resets_swallowed: bool) -> None:
        self.faults = Faults()
        for connection in list(self._connections):
            if connection.has_lost_bytes and resets_swallowed:
                self.counts.reset += 1
                connection.end(with_reset=True)
        if self._server is None:
            await self._listen(self.port)


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.proxy = proxy
        self.from_client, self.to_client = reader, writer
        self.to_server: asyncio.StreamWriter | None = None
        self._lost = Direction(0)
        self._ways: list[asyncio.Task] = []
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        try:
            if self._swallows(Direction.TO_SERVER):
                # The server knows nothing of it; whatever comes is lost, also once the fault is over.
                self._lost = Direction.BOTH
                self._ways = [asyncio.ensure_future(self._lose(self.from_client))]
            else:
                try:
                    from_server, self.to_server = await self._connect()
                except OSError:
                    self.proxy.counts.refused_by_server += 1
                    self.end(with_reset=True)
                    return
                self._ways = [
                    asyncio.ensure_future(self._pass(self.from_client, self.to_server, Direction.TO_SERVER)),
                    asyncio.ensure_future(self._pass(from_server, self.to_client, Direction.TO_CLIENT)),
                ]
            ended = asyncio.ensure_future(self._ended.wait())
            await asyncio.wait([*self._ways, ended], return_when=asyncio.FIRST_COMPLETED)
            # What the other side still has on its way may arrive.
            if not self._ended.is_set() and not self.has_lost_bytes:
                await asyncio.wait([*self._ways, ended], timeout=5)
            ended.cancel()
        finally:
            self.end(with_reset=False)

    async def _connect(self):
        target = self.proxy.target
        if isinstance(target, str):
            return await asyncio.open_unix_connection(target, limit=_BLOCK)
        if target is None:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", target, limit=_BLOCK)

    def end(self, with_reset: bool) -> None:
        for way in self._ways:
            way.cancel()
        for writer in (self.to_client, self.to_server):
            if writer is None:
                continue
            if with_reset:
                linger = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
        self._ended.set()

    @property
    def has_lost_bytes(self) -> bool:
        return bool(self._lost)

    def _swallows(self, direction: Direction) -> bool:
        swallowed = self.proxy.faults.swallows
        return swallowed is not None and direction in swallowed

    async def _lose(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(_BLOCK):
                self.proxy.counts.swallowed_bytes += len(block)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Passes blocks on, each not before its time, and the end of the stream after the last one."""
        waiting: asyncio.Queue = asyncio.Queue(64)
        sending = asyncio.ensure_future(self._send(waiting, writer, direction))
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                while block := await reader.read(_BLOCK):
                    if self._loses(direction):
                        self.proxy.counts.swallowed_bytes += len(block)
                        continue
                    faults = self.proxy.faults
                    delay = faults.delay if direction in faults.affects else 0.0
                    await waiting.put((loop.time() + delay, block))
            if self.has_lost_bytes:
                # Nobody learns of the end of a black hole.
                await self._ended.wait()
            await waiting.put(None)
            await sending
        finally:
            sending.cancel()

    def _loses(self, direction: Direction) -> bool:
        """Whether what comes now is lost: it is while the fault lasts, and ever after."""
        if self._swallows(direction):
            self._lost |= direction
        return direction in self._lost

    async def _send(self, waiting: asyncio.Queue, writer: asyncio.StreamWriter, direction: Direction) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while (item := await waiting.get()) is not None:
                due, block = item
                if (left := due - loop.time()) > 0:
                    await asyncio.sleep(left)
                await self._write(block, writer, direction)
            writer.write_eof()

    async def _write(self, block: bytes, writer: asyncio.StreamWriter, direction: Direction) -> None:
        counts = self.proxy.counts
        while block:
            faults = self.proxy.faults
            rate = faults.rate if direction in faults.affects else None
            # A tenth of a second's worth at a time.
            size = max(1, int(rate / 10)) if rate else len(block)
            part, block = block[:size], block[size:]
            writer.write(part)
            await writer.drain()
            if direction is Direction.TO_SERVER:
                counts.bytes_to_server += len(part)
            else:
                counts.bytes_to_client += len(part)
            if rate:
                await asyncio.sleep(len(part) / rate)
