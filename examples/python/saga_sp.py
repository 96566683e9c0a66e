"""SP, the protocol of NNG, over TCP and Unix sockets: requests and replies as docs/wire.md, section 1, has them. Bytes in, bytes
out.

Client asks, Server answers. The server is bounded: connections, the size of a frame, requests in work, and the time that a
greeting, a frame or an answer may take."""
from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from typing import Awaitable, Callable, Optional

REQ, REP = 0x30, 0x31
MESSAGE_SIZE_MAX = 1024 * 1024  # of a body
MESSAGE_SIZE_HARD = 4 * 1024 * 1024  # above this the peer is disconnected unread
HOPS_MAX = 8  # words of a request's header
CONNECTIONS_MAX = 128
OUTSTANDING_MAX = 64  # requests in work of one connection; more are not read until one is answered
UNSENT_SIZE_MAX = 64 * 1024 * 1024  # bytes of answers that peers have not taken, all connections together
GREETING_SECONDS = 5.0
FRAME_SECONDS = 10.0
ANSWER_SECONDS = 5.0
CHUNK_SIZE = 64 * 1024


def handshake(protocol: int) -> bytes:
    """What each side sends first."""
    return struct.pack(">4sHH", b"\0SP\0", protocol, 0)


def parse_address(url: str) -> tuple[str, int] | str:
    """tcp://HOST:PORT gives (host, port), ipc://PATH the path."""
    if url.startswith("ipc://") and len(url) > len("ipc://"):
        return url[len("ipc://"):]
    host, separator, port = url[len("tcp://"):].rpartition(":")
    if not url.startswith("tcp://") or not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{url}: must be tcp://HOST:PORT or ipc://PATH")
    return host.strip("[]"), int(port)


def format_address(host: str, port: int) -> str:
    """The reverse of parse_address."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def connect(url: str, timeout: float) -> socket.socket:
    """A connection, before its handshake."""
    address = parse_address(url)
    if isinstance(address, tuple):
        sock = socket.create_connection(address, timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


IPC_MARK = b"\x01"  # stands before the size of each message on ipc://


class Client:
    """Asks one peer, one request at a time."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._mark = IPC_MARK if url.startswith("ipc://") else b""
        self._sock = connect(url, timeout)
        try:
            self._sock.sendall(handshake(REQ))
            greeting = self._read(8)
            if greeting != handshake(REP):
                raise ConnectionError(f"{url}: no SP REP peer: {greeting.hex(' ')}")
        except BaseException:
            self._sock.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def request(self, body: bytes, timeout: float = 5.0) -> bytes:
        """Sends a body and waits for its answer."""
        self._sock.settimeout(timeout)
        header = struct.pack(">I", 0x80000000 | secrets.randbits(31))
        self._sock.sendall(self._mark + struct.pack(">Q", len(header) + len(body)) + header + body)
        while True:
            if self._read(len(self._mark)) != self._mark:
                raise ConnectionError("no message on an ipc:// connection")
            (size,) = struct.unpack(">Q", self._read(8))
            if not 4 <= size <= MESSAGE_SIZE_HARD + 4:
                raise ConnectionError(f"a frame of {size} bytes")
            frame = self._read(size)
            if frame[:4] == header:  # else: the late answer to an earlier request
                return frame[4:]

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._sock.recv(min(size - len(data), CHUNK_SIZE))
            if not part:
                raise ConnectionError("the peer closed the connection")
            data += part
        return bytes(data)


# Answers a request: its body, None for one that is too large; gives the reply's body, None: the peer is disconnected.
Handler = Callable[[Optional[bytes]], Awaitable[Optional[bytes]]]


class _Connection:
    """One peer of the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: bytes) -> None:
        self.reader, self.writer, self.mark = reader, writer, mark
        self.slots = asyncio.Semaphore(OUTSTANDING_MAX)
        self.writing = asyncio.Lock()
        self.outstanding = 0
        self.active = time.monotonic()

    def abort(self) -> None:
        self.writer.transport.abort()

    async def greet(self) -> bool:
        self.writer.write(handshake(REP))
        hello = await asyncio.wait_for(self.reader.readexactly(8), GREETING_SECONDS)
        return hello == handshake(REQ)

    async def receive(self) -> tuple[bytes, Optional[bytes]]:
        """The next request: its header, and its body, None when that is too large. Raises ConnectionError on garbage."""
        if self.mark and await self.reader.readexactly(1) != self.mark:
            raise ConnectionError("no message on an ipc:// connection")
        (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        self.active = time.monotonic()
        if size > MESSAGE_SIZE_HARD + 4:
            raise ConnectionError("a frame that is too large")
        return await asyncio.wait_for(self._frame(size), FRAME_SECONDS)

    async def _frame(self, size: int) -> tuple[bytes, Optional[bytes]]:
        header = b""
        while True:
            if size < 4 or len(header) == 4 * HOPS_MAX:
                raise ConnectionError("a frame without a request id")
            header += await self.reader.readexactly(4)
            size -= 4
            if header[-4] & 0x80:
                break
        body = bytearray()
        keep = size <= MESSAGE_SIZE_MAX
        while size > 0:
            chunk = await self.reader.read(min(size, CHUNK_SIZE))
            if not chunk:
                raise ConnectionError("the peer closed in the middle of a frame")
            size -= len(chunk)
            if keep:
                body += chunk
        return header, bytes(body) if keep else None

    async def answer(self, header: bytes, body: bytes) -> None:
        """Sends a reply; a peer that does not read is disconnected."""
        async with self.writing:
            if self.writer.transport.is_closing():
                return
            self.writer.write(self.mark + struct.pack(">Q", len(header) + len(body)) + header + body)
            self.active = time.monotonic()
            try:
                await asyncio.wait_for(self.writer.drain(), ANSWER_SECONDS)
            except (asyncio.TimeoutError, ConnectionError):
                self.abort()


class Server:
    """Listens and answers. All methods on the event loop."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent_size = 0
        self._listener: Optional[asyncio.AbstractServer] = None
        self._mark = b""

    async def start(self, url: str) -> str:
        """Listens; gives the address with the port that was taken."""
        address = parse_address(url)
        if isinstance(address, str):
            self._mark = IPC_MARK
            self._listener = await asyncio.start_unix_server(self._serve, address, limit=CHUNK_SIZE)
            return url
        self._listener = await asyncio.start_server(self._serve, *address, limit=CHUNK_SIZE)
        name = self._listener.sockets[0].getsockname()
        return format_address(name[0], name[1])

    def close_door(self) -> None:
        """Takes no further connections; what is connected goes on."""
        if self._listener is not None:
            self._listener.close()

    async def stop(self, seconds: float) -> None:
        """Waits until what is in work is answered, at most so long, and closes."""
        self.close_door()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for connection in list(self._connections):
            connection.writer.close()

    def _make_room(self) -> bool:
        """Idle connections yield to new ones: who holds many without asking cannot lock others out."""
        if len(self._connections) < CONNECTIONS_MAX:
            return True
        idle = [connection for connection in self._connections if connection.outstanding == 0]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.active)
        self._connections.discard(oldest)
        oldest.abort()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._mark)
        if not self._make_room():
            connection.abort()
            return
        self._connections.add(connection)
        if not self._mark:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError, OSError):
            try:
                if await connection.greet():
                    await self._receive_all(connection)
            finally:
                self._connections.discard(connection)
                writer.close()

    async def _receive_all(self, connection: _Connection) -> None:
        while True:
            await connection.slots.acquire()
            header, body = await connection.receive()
            connection.outstanding += 1
            task = asyncio.get_running_loop().create_task(self._work(connection, header, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, connection: _Connection, header: bytes, body: Optional[bytes]) -> None:
        try:
            reply = await self._handler(body)
            if reply is None or self._unsent_size + len(reply) > UNSENT_SIZE_MAX:
                connection.abort()  # who asks for more than it reads; what was done is stored, and is asked for again
                return
            self._unsent_size += len(reply)
            try:
                await connection.answer(header, reply)
            finally:
                self._unsent_size -= len(reply)
        finally:
            connection.outstanding -= 1
            connection.slots.release()
