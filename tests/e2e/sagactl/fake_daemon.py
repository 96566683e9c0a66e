"""A daemon that answers as a test wants it: NNG's wire protocol (SP, REP over TCP) by hand, messages by Google's protobuf."""
import socket
import struct
import threading

from harness import schema, sp

REFLECTION = "saga.v1.ReflectionService/GetDescriptorSet"
UNIMPLEMENTED = 12


class FakeDaemon:
    """answer(commands) gives a list of Reply, bytes of an answer as they are, or None: say nothing and hang up. reflection is what its schema is said
    to be, a GetDescriptorSetResponse; None: it has no reflection."""

    def __init__(self, answer, reflection=None):
        self.answer = answer
        self.reflection = reflection
        self.batches = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.peers = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self):
        # Threads that wait are not woken by close() alone.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for peer, thread in self.peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass # it hung up before
            thread.join()
            peer.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            thread.start()
            self.peers.append((peer, thread))

    def _serve(self, peer):
        try:
            peer.sendall(struct.pack(">BBBBHH", 0, ord("S"), ord("P"), 0, sp.REP, 0))
            sp.read_exactly(peer, 8)
            while True:
                (size,) = struct.unpack(">Q", sp.read_exactly(peer, 8))
                frame = sp.read_exactly(peer, size)
                body = self._body(frame[4:])
                if body is None:
                    peer.shutdown(socket.SHUT_RDWR)
                    return
                peer.sendall(struct.pack(">Q", 4 + len(body)) + frame[:4] + body)
        except (OSError, EOFError):
            pass

    def _body(self, request):
        batch = schema.CommandBatch.FromString(request)
        if batch.commands[0].method == REFLECTION:
            if self.reflection is not None:
                return schema.ReplyBatch(replies=[reply(batch.commands[0], payload=self.reflection.SerializeToString())]).SerializeToString()
            return schema.ReplyBatch(replies=[reply(batch.commands[0], UNIMPLEMENTED, "NO_SUCH_METHOD")]).SerializeToString()
        self.batches.append(batch.commands)
        answer = self.answer(batch.commands)
        return schema.ReplyBatch(replies=answer).SerializeToString() if isinstance(answer, list) else answer


def reply(command, code=0, reason="", message="", payload=b""):
    one = schema.Reply(saga_id=command.saga_id, step=command.step, op=command.op, attempt=command.attempt, payload=payload)
    one.status.code, one.status.reason, one.status.message = code, reason, message
    return one
