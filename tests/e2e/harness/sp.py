"""NNG's wire protocol by hand (SP over ipc and tcp): a REQ peer that may also misbehave."""
import os
import random
import socket
import struct

from harness import schema

REQ, REP = 0x30, 0x31


def connect(url, timeout=5.0):
    if url.startswith("ipc://"):
        sock = socket.socket(socket.AF_UNIX)
        address = url[len("ipc://") :]
    else:
        host, port = url[len("tcp://") :].rsplit(":", 1)
        sock = socket.socket()
        address = (host, int(port))
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError("the peer closed")
        data += part
    return data


class Peer:
    """A connection after the SP handshake."""

    def __init__(self, url, protocol=REQ, timeout=5.0):
        self.ipc = url.startswith("ipc://")
        self.sock = connect(url, timeout)
        self.sock.sendall(struct.pack(">BBBBHH", 0, ord("S"), ord("P"), 0, protocol, 0))
        head = read_exactly(self.sock, 8)
        if head[:4] != b"\0SP\0":
            raise AssertionError(f"no SP peer: {head!r}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send_frame(self, body, size=None):
        """Sends a message; size: what the frame says, if that is to be a lie."""
        head = struct.pack(">Q", len(body) if size is None else size)
        self.sock.sendall((b"\x01" if self.ipc else b"") + head + body)

    def receive_frame(self):
        if self.ipc:
            assert read_exactly(self.sock, 1) == b"\x01"
        (size,) = struct.unpack(">Q", read_exactly(self.sock, 8))
        assert size <= 8 * 1024 * 1024, size
        return read_exactly(self.sock, size)

    def request(self, body):
        """One REQ round trip of raw bytes."""
        request_id = 0x80000000 | random.getrandbits(31)
        self.send_frame(struct.pack(">I", request_id) + body)
        while True:
            frame = self.receive_frame()
            if struct.unpack(">I", frame[:4])[0] == request_id:
                return frame[4:]


def request(url, body, timeout=5.0):
    """One raw request; the answer's bytes."""
    with Peer(url, timeout=timeout) as peer:
        return peer.request(body)


def call_batch(url, commands, timeout=5.0):
    """Sends commands as one batch; the replies."""
    batch = schema.CommandBatch(commands=commands)
    answer = schema.ReplyBatch()
    answer.ParseFromString(request(url, batch.SerializeToString(), timeout))
    return list(answer.replies)


def call(url, method, message, response_name, timeout=10.0):
    """An ordinary request: (status code, reason, response)."""
    (reply,) = call_batch(url, [schema.Command(method=method, payload=message.SerializeToString())], timeout)
    response = schema.message(response_name)()
    response.ParseFromString(reply.payload)
    return reply.status.code, reply.status.reason, response


def garbage(rng, size):
    """Random bytes."""
    return rng.randbytes(size) if hasattr(rng, "randbytes") else os.urandom(size)
