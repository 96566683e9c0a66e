"""What the tests of JSON share: Google's protobuf as the oracle, the C side as a child process, random messages, comparing."""
import json
import os
import random
import struct
import subprocess
import sys
import threading
import warnings

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
SAGAD = os.path.join(ROOT, "generated", "sagad.binpb")
OK, INVALID, MALFORMED, LIMIT = 0, 1, 2, 3
DEPTH_MAX = 3
RNG = random.Random()
failures = []
# Google's protobuf takes a message that ends early (at a tag 0, or the end of a group) with no more than a warning. It is noted, not raised: some versions of
# Python let an error that an extension raises so get lost, or come up somewhere else.
ended_early = []
warnings.simplefilter("always", RuntimeWarning)
warnings.showwarning = lambda text, category, *_: ended_early.append(text) if category is RuntimeWarning else print(text, file=sys.stderr)


def quiet():
    """Google's library writes a line to stderr for every text that is not UTF-8: takes that away, and keeps Python's own and the C side's."""
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stderr = os.fdopen(kept, "w", buffering=1)


def check(good, text):
    if not good:
        failures.append(text)
        if len(failures) <= 20:
            print("FAILED:", text)
    return good


def compile_protos(folder):
    """Compiles the protos of this folder and gives the descriptor set's path."""
    path = os.path.join(folder, "everything.binpb")
    subprocess.run(["protoc", "-I", HERE, "--include_imports", "--descriptor_set_out", path, "everything.proto", "legacy.proto"], check=True)
    return path


class Echo:
    """The C side. Requests go in batches: one flush, one wait."""

    def __init__(self, descriptor_set):
        path = os.path.join(os.environ["SAGA_BUILD_DIR"], "tests", "json_echo")
        self.child = subprocess.Popen([path, descriptor_set], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr)

    def ask_all(self, requests):
        """Answers (code, bytes) to requests (what, name, bytes), in their order."""
        parts = []
        for what, name, data in requests:
            raw = name.encode()
            parts += [what.encode(), struct.pack("<I", len(raw)), raw, struct.pack("<I", len(data)), data]
        parts.append(b"F" + bytes(8))
        # Both pipes are bounded: who only writes would wait for ever for who does.
        writer = threading.Thread(target=self.write, args=(b"".join(parts),), daemon=True)
        writer.start()
        answers = [self.read(request) for request in requests]
        writer.join()
        return answers

    def ask(self, what, name, data=b""):
        return self.ask_all([(what, name, data)])[0]

    def write(self, data):
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # who reads says so

    def read(self, request):
        head = self.child.stdout.read(5)
        if len(head) != 5:
            sys.exit(f"json_echo ended with {self.child.wait()} on {request[0]} {request[1]} {request[2][:1000].hex()}")
        code, size = struct.unpack("<BI", head)
        return code, self.child.stdout.read(size)

    def close(self):
        self.child.stdin.close()
        return self.child.wait(60)


# ---- Random messages ----

def text(limit=20):
    letters = "abzAZ09-/ \"\\\0\u00e4\u20ac\U0001F600\u0001\u001f\u007f\n\u2028"
    return "".join(RNG.choice(letters) for _ in range(RNG.randrange(limit)))


def integer(bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return RNG.choice([low, high, 0, 1, RNG.randint(low, high), min(RNG.randrange(300), high)])


def real(single, finite=False):
    odd = [] if finite else [float("nan"), float("inf"), float("-inf")]
    value = RNG.choice([0.0, -0.0, 1.0, -1.0, 2.0 ** 63, 1e20, 0.1, 1e10, 123456789.0, 3.4028234663852886e38, 1.401298464324817e-45, RNG.uniform(-1e6, 1e6),
                        RNG.random() * 10.0 ** RNG.randint(-30, 30), -1.5e-7] + odd +
                       ([] if single else [1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, -1.1125369292536007e-308, 2.0 ** 53 + 2, 1e300]))
    return struct.unpack("<f", struct.pack("<f", value))[0] if single else value


def enum_value(field):
    if field.enum_type.full_name == "google.protobuf.NullValue":
        return 0
    odd = [77, -1] if field.enum_type.file.syntax == "proto3" else []
    return RNG.choice([value.number for value in field.enum_type.values] + odd)


def scalar(field):
    kind = field.type
    if kind == F.TYPE_STRING:
        return text()
    if kind == F.TYPE_BYTES:
        return RNG.randbytes(RNG.choice([0, 1, 2, 3, 4, 20]))
    if kind == F.TYPE_BOOL:
        return RNG.random() < 0.5
    if kind == F.TYPE_ENUM:
        return enum_value(field)
    if kind in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        return real(kind == F.TYPE_FLOAT)
    wide = kind in (F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_SINT64, F.TYPE_FIXED64, F.TYPE_SFIXED64)
    signed = kind in (F.TYPE_INT32, F.TYPE_INT64, F.TYPE_SINT32, F.TYPE_SINT64, F.TYPE_SFIXED32, F.TYPE_SFIXED64)
    return integer(64 if wide else 32, signed)


def fill_time(message, is_duration):
    if is_duration:
        seconds = RNG.choice([0, 1, 59, 315576000000, RNG.randrange(1 << 33)])
        sign = RNG.choice([1, -1])
        message.seconds, message.nanos = sign * seconds, 0 if seconds == 315576000000 else sign * nanos()
    else:
        message.seconds = RNG.choice([0, -62135596800, 253402300799, 951782400, -1, 4107542399, RNG.randint(-62135596800, 253402300799)])
        message.nanos = nanos()


def nanos():
    return RNG.choice([0, 1, 999999999, 500000000, 123000, RNG.randrange(1000000000)])


def fill_value(value, depth):
    kind = RNG.randrange(6 if depth < DEPTH_MAX else 4)
    if kind == 0:
        value.null_value = 0
    elif kind == 1:
        value.number_value = real(False, finite=True)
    elif kind == 2:
        value.string_value = text()
    elif kind == 3:
        value.bool_value = RNG.random() < 0.5
    elif kind == 4:
        fill_struct(value.struct_value, depth + 1)
    else:
        fill_list(value.list_value, depth + 1)


def fill_struct(message, depth):
    message.SetInParent()
    for _ in range(RNG.randrange(3)):
        fill_value(message.fields[text().replace("\0", "")], depth)


def fill_list(message, depth):
    message.SetInParent()
    for _ in range(RNG.randrange(4)):
        fill_value(message.values.add(), depth)


def fill_any(message, depth, world):
    if RNG.random() < 0.1 or depth >= DEPTH_MAX:
        return
    name = RNG.choice(world.any_names)
    inner = world.classes[name]()
    fill(inner, depth + 1, world)
    message.Pack(inner)


def fill_mask(message):
    for _ in range(RNG.randrange(4)):
        message.paths.append(RNG.choice(["a", "user_name", "a.b_c.d", "items", "x1_y"]))


def fill(message, depth, world):
    name = message.DESCRIPTOR.full_name
    if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        fill_time(message, name.endswith("Duration"))
    elif name == "google.protobuf.Value":
        fill_value(message, depth)
    elif name == "google.protobuf.Struct":
        fill_struct(message, depth)
    elif name == "google.protobuf.ListValue":
        fill_list(message, depth)
    elif name == "google.protobuf.Any":
        fill_any(message, depth, world)
    elif name == "google.protobuf.FieldMask":
        fill_mask(message)
    else:
        for field in message.DESCRIPTOR.fields:
            if RNG.random() < (world.density if depth == 0 else 0.35):
                fill_field(message, field, depth, world)


def fill_field(message, field, depth, world):
    is_message = field.type == F.TYPE_MESSAGE
    is_map = is_message and field.message_type.GetOptions().map_entry
    target = getattr(message, field.name)
    if is_map:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for _ in range(RNG.randrange(4)):
            where = scalar(key)
            if isinstance(where, str):
                where = where.replace("\0", "")
            if value.type != F.TYPE_MESSAGE:
                target[where] = scalar(value)
            elif depth < DEPTH_MAX or value.message_type.full_name.startswith("google."):
                target[where].SetInParent()
                fill(target[where], depth + 1, world)
    elif field.label == F.LABEL_REPEATED:
        for _ in range(RNG.randrange(4)):
            if not is_message:
                target.append(scalar(field))
            elif depth < DEPTH_MAX:
                fill(target.add(), depth + 1, world)
    elif is_message:
        if depth < DEPTH_MAX:
            target.SetInParent()
            fill(target, depth + 1, world)
    else:
        setattr(message, field.name, scalar(field))


class World:
    """The types of a descriptor set."""

    def __init__(self, path):
        self.density = 0.6  # of the fields of a random message, how many are set
        with open(path, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        factory = message_factory.MessageFactory(self.pool)
        names = []
        for file in files.file:
            for message in file.message_type:
                self.names_of(message, file.package, names)
        self.classes = {name: factory.GetPrototype(self.pool.FindMessageTypeByName(name)) for name in names}
        self.names = sorted(name for name in names if not has_group(self.pool.FindMessageTypeByName(name)))
        self.any_names = [name for name in self.names if name.startswith("saga.test.") or name.startswith("google.protobuf.")]
        self.any_names = [name for name in self.any_names if name != "google.protobuf.Any" and "Descriptor" not in name]

    def random(self, name):
        """A random message; it has what proto2 requires."""
        while True:
            self.density = RNG.choice([0.1, 0.3, 0.6])
            made = self.classes[name]()
            fill(made, 0, self)
            if made.IsInitialized():
                return made

    def names_of(self, message, scope, names):
        name = f"{scope}.{message.name}" if scope else message.name
        if not message.options.map_entry:
            names.append(name)
        for nested in message.nested_type:
            self.names_of(nested, name, names)


def has_group(descriptor):
    return any(field.type == F.TYPE_GROUP for field in descriptor.fields) or descriptor.full_name.endswith(".Inside")


# ---- Comparing ----

def same(a, b):
    """Two parsed JSON texts; numbers by their value as a float or double."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and not isinstance(b, bool):
        return a == b or single(a) == single(b)
    return type(a) is type(b) and a == b


def single(number):
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return None


def has_map(message):
    """Tells whether a map is in a message, or may be in an Any of it: the order of its entries on the wire is free."""
    if message.DESCRIPTOR.full_name in ("google.protobuf.Any", "google.protobuf.Struct"):
        return True
    for field, value in message.ListFields():
        if field.type != F.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry or any(map(has_map, value if field.label == F.LABEL_REPEATED else [value])):
            return True
    return False


def to_json(world, made, **options):
    """Its JSON. Raises what it raises, in many ways; ValueError when an Any in it ends early."""
    ended_early.clear()
    text = json_format.MessageToJson(made, indent=None, descriptor_pool=world.pool, **options)
    if ended_early:
        raise ValueError(str(ended_early[0]))
    return text


def from_json(world, name, data):
    """What Google's protobuf makes of a text (bytes): the message, or None and why it refuses."""
    made = world.classes[name]()
    try:
        json_format.Parse(data.decode(), made, descriptor_pool=world.pool)
        return made, ""
    except Exception as error:  # it stumbles over odd texts in many ways; whatever it is, it does not take this one
        return None, f"{type(error).__name__}: {error}"


def from_wire(world, name, data):
    """The message, or None."""
    ended_early.clear()
    try:
        made = world.classes[name].FromString(data)
    except message.DecodeError:
        return None
    return None if ended_early else made


def wire_of(message):
    return message.SerializeToString(deterministic=True)


def canon(message, world):
    """What a message says, to compare: wire bytes would tell the order of a map inside an Any."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any" and message.type_url:
        inner = world.classes[message.type_url.split("/")[-1]].FromString(message.value)
        return [message.type_url, canon(inner, world)]
    return {field.name: canon_field(field, value, world) for field, value in message.ListFields()}


def canon_field(field, value, world):
    if field.type != F.TYPE_MESSAGE:
        return [canon_scalar(item) for item in value] if field.label == F.LABEL_REPEATED else canon_scalar(value)
    if field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {str(key): canon(value[key], world) if inner.type == F.TYPE_MESSAGE else canon_scalar(value[key]) for key in value}
    return [canon(item, world) for item in value] if field.label == F.LABEL_REPEATED else canon(value, world)


def canon_scalar(value):
    return repr(value) if isinstance(value, float) else value


def equal(a, b, world):
    """The same message; NaN is NaN."""
    return a == b or canon(a, world) == canon(b, world)
