"""What the six databases hold, and the invariants of the ordering system at rest."""
import collections
import json
import sqlite3

from harness import schema
from harness.util import until

ORDER_STATES = {1: "PENDING", 2: "APPROVED", 3: "REJECTED"}
TICKET_PENDING, TICKET_APPROVED = 1, 2
PAYMENT_AUTHORIZED = 1


def query(daemon, sql, *parameters):
    """Rows of a daemon's database, read beside the daemon."""
    connection = sqlite3.connect(f"file:{daemon.data_file}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


class Orders:
    """The orders: {id: (state, reason, saga id)} and what they ask for."""

    def __init__(self, system):
        self.by_id = {}
        self.items = {}
        for order_id, state, reason, saga_id, items in query(
                system.orderd, "SELECT order_id, state, reason, saga_id, items FROM orders"):
            self.by_id[order_id] = (ORDER_STATES[state], reason, saga_id)
            self.items[order_id] = [(item["product_id"], item["quantity"]) for item in json.loads(items)]

    def of(self, state):
        return {order_id for order_id, row in self.by_id.items() if row[0] == state}


def waiting(system):
    """What is not at rest, as text; empty when all is."""
    pending = query(system.orderd, "SELECT count(*) FROM orders WHERE state = 1")[0][0]
    unstarted = query(system.orderd, "SELECT count(*) FROM start_outbox")[0][0]
    live = query(system.sagad, "SELECT count(*) FROM saga WHERE live")[0][0]
    if pending or unstarted or live:
        return f"{pending} orders PENDING, {unstarted} not started, {live} sagas live"
    return ""


def wait_rest(system, seconds=90):
    """Waits until every order is decided and every saga has ended."""
    until(lambda: not waiting(system), seconds,
          lambda: f"{waiting(system)}: {describe_live(system)}\n{system.logs()}")


def describe_live(system):
    rows = query(system.sagad, "SELECT hex(id), state, seq, length(record) FROM saga WHERE live ORDER BY id LIMIT 5")
    tails = []
    for saga_id, state, seq, _ in rows:
        events = []
        for (data,) in query(system.sagad, "SELECT event FROM audit WHERE saga_id = ? ORDER BY seq DESC LIMIT 3",
                             bytes.fromhex(saga_id)):
            event = schema.AuditEvent()
            event.ParseFromString(data)
            event.ClearField("definition_hash")
            events.append(str(event).replace("\n", " "))
        tails.append(f"{saga_id} state {state} seq {seq}: " + " <- ".join(events))
    return "\n".join(tails)


def check_invariants(system):
    """Design, section 9. Call it at rest."""
    orders = Orders(system)
    approved = orders.of("APPROVED")
    assert not orders.of("PENDING"), f"PENDING at rest: {orders.of('PENDING')}"
    check_stock(system, orders, approved)
    payments = {row[0]: row[1:] for row in query(
        system.paymentd, "SELECT order_id, customer_id, amount_cents, state FROM payment")}
    authorized = {order_id for order_id, row in payments.items() if row[2] == PAYMENT_AUTHORIZED}
    tickets = dict(query(system.kitchend, "SELECT order_id, state FROM ticket"))
    approved_tickets = {order_id for order_id, state in tickets.items() if state == TICKET_APPROVED}
    assert approved == approved_tickets, f"orders and tickets disagree: {approved ^ approved_tickets}"
    assert approved == authorized, f"orders and payments disagree: {approved ^ authorized}"
    held = {order_id for order_id, state in tickets.items() if state == TICKET_PENDING}
    assert not held, f"tickets wait at rest: {held}"
    check_balances(system, payments, authorized)
    for order_id, (state, reason, saga_id) in orders.by_id.items():
        assert saga_id is not None and len(saga_id) == 16, f"order {order_id} has no saga"
        assert (reason == "") == (state == "APPROVED"), f"order {order_id} is {state} with reason {reason!r}"
    return orders


def check_stock(system, orders, approved):
    """Stock and units in approved orders are what the seed was; reservations are theirs alone."""
    units = collections.Counter()
    for order_id in approved:
        for product, quantity in orders.items[order_id]:
            units[product] += quantity
    seeded = {product["product_id"]: product["stock"] for product in system.seed["products"]}
    stock = dict(query(system.productd, "SELECT product_id, stock FROM product"))
    for product, before in seeded.items():
        assert stock[product] + units[product] == before, (
            f"product {product}: {stock[product]} in stock and {units[product]} sold, of {before}")
    held = {row[0] for row in query(system.productd, "SELECT order_id FROM reservation WHERE released = 0")}
    assert held == approved, f"reservations of orders that are not approved, or none: {held ^ approved}"


def check_balances(system, payments, authorized):
    paid = collections.Counter()
    for order_id in authorized:
        paid[payments[order_id][0]] += payments[order_id][1]
    seeded = {account["customer_id"]: account["balance_cents"] for account in system.seed["accounts"]}
    balances = dict(query(system.paymentd, "SELECT customer_id, balance_cents FROM account"))
    for customer, before in seeded.items():
        assert balances[customer] + paid[customer] == before, (
            f"customer {customer}: has {balances[customer]}, paid {paid[customer]}, of {before}")


def check_reasons(system, kinds):
    """Without faults, each order ended as its kind says: {order_id: kind}."""
    from harness.orders import REASONS
    orders = Orders(system)
    for order_id, kind in kinds.items():
        state, reason, _ = orders.by_id[order_id]
        expected = ("APPROVED", "") if kind == "approved" else ("REJECTED", REASONS[kind])
        assert (state, reason) == expected, f"order {order_id} ({kind}): {state} {reason}, expected {expected}"
