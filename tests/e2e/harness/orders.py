"""Placing orders over HTTP, and the seed that makes each refusal reachable."""
import concurrent.futures
import http.client
import json
import random
import threading
import time
import urllib.parse

# Who and what is there.
GOOD_CUSTOMERS = list(range(1, 41))
POOR_CUSTOMER, ABNORMAL_CUSTOMER, UNKNOWN_CUSTOMER = 90, 91, 999
GOOD_PRODUCTS = list(range(1, 11))
SOLD_OUT_PRODUCT, REFUSED_PRODUCT = 40, 41

IDLE_SECONDS_MAX = 3  # the server closes connections that idle

# Kinds of orders and the reason of their refusal.
REASONS = {
    "approved": "",
    "abnormal": "CUSTOMER_ABNORMAL",
    "unknown": "CUSTOMER_UNKNOWN",
    "sold out": "OUT_OF_STOCK",
    "declined": "PAYMENT_DECLINED",
    "refused": "TICKET_REFUSED",
}


def seed(capacity=100000):
    """The contents of the databases before the first order."""
    customers = [{"customer_id": n, "name": f"c{n}", "state": "NORMAL"} for n in [*GOOD_CUSTOMERS, POOR_CUSTOMER]]
    customers.append({"customer_id": ABNORMAL_CUSTOMER, "name": "odd", "state": "ABNORMAL"})
    products = [{"product_id": n, "name": f"p{n}", "price_cents": 100 * n, "stock": 1000000}
                for n in [*GOOD_PRODUCTS, REFUSED_PRODUCT]]
    products.append({"product_id": SOLD_OUT_PRODUCT, "name": "gone", "price_cents": 500, "stock": 2})
    return {
        "customers": customers,
        "products": products,
        "kitchen": [{"capacity": capacity}],
        "refused_products": [{"product_id": REFUSED_PRODUCT}],
        "accounts": [{"customer_id": n, "balance_cents": 10**12} for n in GOOD_CUSTOMERS]
        + [{"customer_id": POOR_CUSTOMER, "balance_cents": 50}, {"customer_id": ABNORMAL_CUSTOMER, "balance_cents": 9}],
    }


def make_order(kind, rng):
    """An order that ends as its kind says."""
    customer = {"abnormal": ABNORMAL_CUSTOMER, "unknown": UNKNOWN_CUSTOMER, "declined": POOR_CUSTOMER}.get(
        kind, rng.choice(GOOD_CUSTOMERS))
    products = rng.sample(GOOD_PRODUCTS, rng.randint(1, 3))
    items = [{"product_id": product, "quantity": rng.randint(1, 4)} for product in products]
    if kind == "sold out":
        items.append({"product_id": SOLD_OUT_PRODUCT, "quantity": 3})
    if kind == "refused":
        items.append({"product_id": REFUSED_PRODUCT, "quantity": 1})
    return {"customer_id": customer, "items": items}


class Orders:
    """A client of orderd. base: a function that gives its present HTTP address. One connection a thread."""

    def __init__(self, base):
        self.base = base
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None, timeout=70):
        """(status, decoded JSON); a broken connection is an OSError or http.client.HTTPException."""
        address = urllib.parse.urlsplit(self.base()).netloc
        held = getattr(self.local, "held", None)
        if held is None or held[0] != address or time.monotonic() - self.local.used > IDLE_SECONDS_MAX:
            held = (address, http.client.HTTPConnection(address, timeout=timeout))
            self.local.held, self.local.used = held, time.monotonic()
        try:
            held[1].request(method, path, body=None if body is None else json.dumps(body),
                            headers={"Content-Type": "application/json", **(headers or {})})
            answer = held[1].getresponse()
            data = answer.read()
            self.local.used = time.monotonic()
        except (OSError, http.client.HTTPException):
            held[1].close()
            self.local.held = None
            raise
        return answer.status, json.loads(data) if data else None

    def place(self, order, key=None, wait=None):
        """One attempt; the order as answered."""
        headers = {"Idempotency-Key": key} if key else {}
        status, answer = self.request("POST", "/orders" + (f"?wait={wait}" if wait else ""), order, headers)
        if status not in (200, 201):
            raise AssertionError(f"POST /orders: {status} {answer}")
        return answer

    def place_surely(self, order, key, seconds=120):
        """Tries until an answer comes; the key makes it one order."""
        end = time.monotonic() + seconds
        while True:
            try:
                status, answer = self.request("POST", "/orders", order, {"Idempotency-Key": key})
                if status in (200, 201):
                    return answer
                if status != 503:
                    raise AssertionError(f"POST /orders: {status} {answer}")
            except (OSError, http.client.HTTPException) as problem:
                answer = problem
            if time.monotonic() > end:
                raise AssertionError(f"no answer to order {key}: {answer}")
            time.sleep(0.05)

    def get(self, order_id, wait=None):
        status, answer = self.request("GET", f"/orders/{order_id}" + (f"?wait={wait}" if wait else ""))
        if status != 200:
            raise AssertionError(f"GET /orders/{order_id}: {status} {answer}")
        return answer

    def decided(self, order_id, seconds=60):
        """Waits until an order is decided, also while orderd comes and goes."""
        end = time.monotonic() + seconds
        while True:
            try:
                status, answer = self.request("GET", f"/orders/{order_id}?wait=5s")
                if status == 200 and answer["state"] != "PENDING":
                    return answer
                if status not in (200, 503):
                    raise AssertionError(f"GET /orders/{order_id}: {status} {answer}")
            except (OSError, http.client.HTTPException) as problem:
                answer = problem
                time.sleep(0.05)
            if time.monotonic() > end:
                raise AssertionError(f"order {order_id} is not decided after {seconds} s: {answer}")

    def decide(self, order, seconds=60):
        """Places an order and waits for its decision."""
        answer = self.place(order, wait="10s")
        return answer if answer["state"] != "PENDING" else self.decided(answer["order_id"], seconds)


class Load:
    """Many orders from several threads, spread over some seconds; about a third of them must be refused."""

    def __init__(self, orders, count, seed_number, seconds=0, threads=16, name="load"):
        rng = random.Random(seed_number)
        kinds = list(REASONS)[1:]
        self.orders = orders
        self.seconds = seconds
        self.plan = []
        for i in range(count):
            kind = rng.choice(kinds) if rng.random() < 1 / 3 else "approved"
            self.plan.append((f"{name}-{seed_number}-{i}", kind, make_order(kind, rng)))
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.futures = []
        self.placed_count = 0

    def _one(self, key, order, at):
        time.sleep(max(0, at - time.monotonic()))  # the pace of the load, not a wait for something
        answer = self.orders.place_surely(order, key)
        self.placed_count += 1
        return answer["order_id"]

    def begin(self):
        now, step = time.monotonic(), self.seconds / len(self.plan)
        self.futures = [self.pool.submit(self._one, key, order, now + i * step)
                        for i, (key, _, order) in enumerate(self.plan)]
        return self

    def placed(self):
        """Waits until all are accepted: {order_id: kind}."""
        ids = {future.result(): kind for future, (_, kind, _) in zip(self.futures, self.plan)}
        self.pool.shutdown()
        assert len(ids) == len(self.plan), "one order was placed twice, or two answered as one"
        return ids
