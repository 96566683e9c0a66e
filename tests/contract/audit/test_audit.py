"""Audit events: decoded by Google's protobuf with the committed schema, hashes checked by hashlib."""
import hashlib
import pathlib
import struct
import subprocess
import sys

from google.protobuf import descriptor_pb2, descriptor_pool

try:
    from google.protobuf.message_factory import GetMessageClass
except ImportError:  # protobuf before 4.22
    from google.protobuf.message_factory import MessageFactory

    def GetMessageClass(descriptor):
        return MessageFactory().GetPrototype(descriptor)


def audit_event_class():
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(pathlib.Path("generated/sagad.binpb").read_bytes())
    for file in files.file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("saga.v1.AuditEvent"))


def split(data):
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def hash_of(event):
    copy = type(event)()
    copy.CopyFrom(event)
    copy.ClearField("hash")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


def main():
    event_class = audit_event_class()
    output = subprocess.run([sys.argv[1]], check=True, stdout=subprocess.PIPE).stdout
    count = 0
    kinds = set()
    last = None
    for raw in split(output):
        event = event_class()
        event.ParseFromString(raw)
        assert not event.UnknownFields() if hasattr(event, "UnknownFields") else True
        assert event.SerializeToString(deterministic=True) == raw, f"not canonical: {event}"
        assert event.hash == hash_of(event), f"hash: {event}"
        first = last is None or event.saga_id != last.saga_id
        assert event.seq == (1 if first else last.seq + 1), f"gap: {event}"
        assert event.prev_hash == (b"" if first else last.hash), f"chain: {event}"
        assert len(event.saga_id) == 16 and len(event.definition_hash) == 32
        if event.kind == 1:
            assert first and event.start_key == "key-1" and event.seed
            assert [t.step for t in event.transitions][0] == "order"
        if event.kind == 6:
            assert event.operator.who == "ann" and event.operator.act
        if event.status.code:
            assert event.status.reason == "A_REASON" and event.status.message == "grüße"
        kinds.add(event.kind)
        last = event
        count += 1
    assert count > 1000, count
    assert kinds == {1, 2, 3, 4, 5, 6}, kinds
    changed = event_class()
    changed.CopyFrom(last)
    changed.seq += 1
    assert changed.hash != hash_of(changed)  # the check can fail
    print(f"{count} events")


if __name__ == "__main__":
    main()
