"""A test case with one broker and one system for all its tests."""
import os
import pathlib
import tempfile
import unittest

from harness import check, orders
from harness.daemons import System
from harness.kafka import Broker


class SystemCase(unittest.TestCase):
    """Brings the whole system up once; removes it, or keeps its files when a test failed."""

    SAGA = "create-order"
    CAPACITY = 100000
    EXTRA = ()

    @classmethod
    def setUpClass(cls):
        cls.failed = False
        cls.addClassCleanup(cls._clean_up)
        cls.broker_dir = pathlib.Path(tempfile.mkdtemp(prefix="saga-broker-", dir=os.environ.get("TMPDIR", "/tmp")))
        cls.broker = Broker(cls.broker_dir)
        cls.broker.create_topics()
        cls.system = System(cls.broker.bootstrap, orders.seed(cls.CAPACITY), saga=cls.SAGA, extra=cls.EXTRA)
        cls.system.start()
        cls.orders = orders.Orders(lambda: cls.system.orderd.http)

    @classmethod
    def _clean_up(cls):
        if hasattr(cls, "system"):
            cls.system.remove(keep=cls.failed)
        if hasattr(cls, "broker"):
            cls.broker.remove()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            type(self).failed = True
        return result

    def setUp(self):
        self.system.start()  # what an earlier test may have left ended

    def check_all(self, seconds=90):
        return check.check_all(self.system, self.broker, seconds)
