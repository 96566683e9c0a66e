"""Classes of the committed schema, made by Google's protobuf from generated/sagad.binpb."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.util import ROOT

_pool = descriptor_pool.DescriptorPool()
_files = descriptor_pb2.FileDescriptorSet()
_files.ParseFromString((ROOT / "generated" / "sagad.binpb").read_bytes())
for _file in _files.file:
    _pool.Add(_file)
_factory = message_factory.MessageFactory(_pool) if not hasattr(message_factory, "GetMessageClass") else None


def message(name):
    """The class of a message, by its full name."""
    descriptor = _pool.FindMessageTypeByName(name)
    if _factory is not None:
        return _factory.GetPrototype(descriptor)
    return message_factory.GetMessageClass(descriptor)


Command = message("saga.v1.Command")
CommandBatch = message("saga.v1.CommandBatch")
Reply = message("saga.v1.Reply")
ReplyBatch = message("saga.v1.ReplyBatch")
AuditEvent = message("saga.v1.AuditEvent")
EffectEvent = message("saga.v1.EffectEvent")

OP_CALL, OP_UNDO = 1, 2
KIND_START, KIND_REPLY, KIND_TIMER, KIND_DURABLE, KIND_RECOVERED, KIND_OPERATOR = 1, 2, 3, 4, 5, 6
RUNNING, COMPENSATING, COMPLETED, COMPENSATED, PARKED = 1, 2, 3, 4, 5
WAITING, CALLED, SUCCEEDED, REJECTED, UNKNOWN, UNDOING, UNDONE, SKIPPED = 1, 2, 3, 4, 5, 6, 7, 8
VIA_NNG, VIA_KAFKA, VIA_CHILD = 1, 2, 3
