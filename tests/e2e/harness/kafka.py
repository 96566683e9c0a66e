"""A broker of one's own, and what is on its topics (read and written by kcat)."""
import pathlib
import re
import subprocess
import tempfile

from harness.util import ROOT, bin_dir

SCRIPT = ROOT / "tests" / "support" / "kafka-broker"
# One record of kcat's output: a line of numbers, key, value, headers, and a mark that no header has.
FORMAT = r"%p %o %T %K %S\n%k%s%h\x1e<next>\x1e\n"
MARK = b"\x1e<next>\x1e\n"
HEADER = re.compile(r"(?:^|,)(ce_[a-z]+|content-type|traceparent|dead-letter-[a-z-]+)=")
COMMAND_TOPICS = {
    "order.v1.OrderService": "saga-to-order-status",
    "customer.v1.CustomerService": "order-to-customer-validation",
    "product.v1.ProductService": "order-to-product-product-stock",
    "kitchen.v1.KitchenService": "order-to-kitchen-status",
    "payment.v1.PaymentService": "order-to-payment-status",
}
REPLY_TOPICS = {
    "order.v1.OrderService": "order-to-saga-status",
    "customer.v1.CustomerService": "customer-to-order-customer-validation",
    "product.v1.ProductService": "product-to-order-product-stock",
    "kitchen.v1.KitchenService": "kitchen-to-order-kitchen-status",
    "payment.v1.PaymentService": "payment-to-order-payment-status",
}


class Record:
    """One record; key and value None when they are null."""

    def __init__(self, partition, offset, time_ms, key, value, headers):
        self.partition, self.offset, self.time_ms = partition, offset, time_ms
        self.key, self.value, self.headers = key, value, headers

    def __repr__(self):
        return f"Record({self.partition}:{self.offset} key={self.key} headers={self.headers} {len(self.value or b'')} B)"


class Broker:
    """One Apache Kafka node with data of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.bootstrap = self._run("start", "--fresh")

    def _run(self, verb, *arguments):
        done = subprocess.run([str(SCRIPT), verb, str(self.directory), *arguments], stdout=subprocess.PIPE, text=True,
                              check=True, timeout=300)
        return done.stdout.strip()

    def create_topics(self):
        subprocess.run([str(bin_dir() / "sagactl"), "topics", "apply", "--kafka", self.bootstrap], check=True,
                       stdout=subprocess.DEVNULL, timeout=60)

    def kill(self):
        self._run("kill")

    def restart(self):
        assert self._run("restart") == self.bootstrap

    def remove(self):
        self._run("remove")

    def read(self, topic):
        """All records of a topic, by partition and offset."""
        done = subprocess.run(["kcat", "-b", self.bootstrap, "-C", "-q", "-e", "-o", "beginning", "-t", topic,
                               "-X", "fetch.wait.max.ms=10", "-f", FORMAT], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"kcat {topic}: {done.stderr.decode(errors='replace')}")
        return sorted(parse_records(done.stdout), key=lambda r: (r.partition, r.offset))

    def write(self, topic, value, key=None, headers=None):
        """Writes one record with exactly these bytes."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(value)
            file.flush()
            command = ["kcat", "-b", self.bootstrap, "-P", "-t", topic, "-X", "acks=all", "-X",
                       "message.max.bytes=10000000"]
            if key is not None and value:
                command += ["-k", key]
            for name, text in (headers or {}).items():
                command += ["-H", f"{name}={text}"]
            if value:
                done = subprocess.run([*command, file.name], stderr=subprocess.PIPE, check=False, timeout=60)
            else:  # an empty file or line is no record to kcat; a key with nothing behind it is
                assert key is not None
                done = subprocess.run([*command, "-K", "|"], input=f"{key}|\n".encode(), stderr=subprocess.PIPE,
                                      check=False, timeout=60)
            if done.returncode != 0:
                raise AssertionError(f"kcat -P {topic}: {done.stderr.decode(errors='replace')}")


def parse_records(output):
    at = 0
    while at < len(output):
        line_end = output.index(b"\n", at)
        partition, offset, time_ms, key_size, size = map(int, output[at:line_end].split())
        at = line_end + 1
        key = None if key_size < 0 else output[at : at + key_size]
        at += max(key_size, 0)
        value = None if size < 0 else output[at : at + size]
        at += max(size, 0)
        end = output.index(MARK, at)
        headers = parse_headers(output[at:end].decode("utf-8", "replace"))
        at = end + len(MARK)
        yield Record(partition, offset, time_ms, key, value, headers)


def parse_headers(text):
    """name=value,name=value: a value may have commas and equal signs, so it ends where a known name begins."""
    headers = {}
    found = list(HEADER.finditer(text))
    for i, match in enumerate(found):
        end = found[i + 1].start() if i + 1 < len(found) else len(text)
        headers[match.group(1)] = text[match.end() : end]
    return headers
