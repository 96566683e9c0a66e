"""The loyalty service: points for purchases, as a participant of the saga purchase (proto/loyalty/v1).

At rest: the points of an account are those of its confirmed purchases, and nothing is pending."""
from __future__ import annotations

import argparse
import logging
import sys

from saga_barrier import Code, Refusal
from saga_participant import Call, Participant, Settings
from saga_schema import Schema

SERVICE = "loyalty.v1.LoyaltyService"
CENTS_PER_POINT = 100
POINTS_MAX = 1_000_000  # of an account
TABLES = (
    """CREATE TABLE IF NOT EXISTS account (
      customer_id INTEGER PRIMARY KEY, points INTEGER NOT NULL, pending_points INTEGER NOT NULL,
      CHECK (points >= 0 AND pending_points >= 0)) STRICT""",
    """CREATE TABLE IF NOT EXISTS purchase (
      purchase_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES account, points INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('PENDING', 'CONFIRMED', 'TAKEN_BACK'))) STRICT""",
)


def make_participant(settings: Settings, schema: Schema) -> Participant:
    """The service with its handlers."""
    participant = Participant(settings, schema, SERVICE, TABLES)
    methods = schema.methods(SERVICE)

    @participant.handles("AddPoints")
    def add_points(call: Call, request):
        if request.total_cents < 0:
            raise Refusal(Code.INVALID_ARGUMENT, "AMOUNT_INVALID", f"total_cents is {request.total_cents}, at least 0")
        points = request.total_cents // CENTS_PER_POINT
        call.db.execute("INSERT INTO account VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (request.customer_id,))
        (held,) = call.db.execute("SELECT points + pending_points FROM account WHERE customer_id = ?",
                                  (request.customer_id,)).fetchone()
        if held + points > POINTS_MAX:
            raise Refusal(Code.FAILED_PRECONDITION, "ACCOUNT_FULL",
                          f"customer {request.customer_id} has {held} points, {points} more are above {POINTS_MAX}")
        added = call.db.execute("INSERT INTO purchase VALUES (?, ?, ?, 'PENDING') ON CONFLICT DO NOTHING",
                                (request.purchase_id, request.customer_id, points))
        if added.rowcount == 0:
            raise Refusal(Code.ALREADY_EXISTS, "PURCHASE_EXISTS", f"purchase {request.purchase_id} has had its points")
        call.db.execute("UPDATE account SET pending_points = pending_points + ? WHERE customer_id = ?",
                        (points, request.customer_id))
        return methods["AddPoints"].response(points=points)

    @participant.handles("TakePointsBack")
    def take_points_back(call: Call, request):
        # The barrier has seen to it that they were added, and that this runs once.
        customer_id, points = settle(call, request.purchase_id, "TAKEN_BACK")
        call.db.execute("UPDATE account SET pending_points = pending_points - ? WHERE customer_id = ?", (points, customer_id))
        return methods["TakePointsBack"].response()

    @participant.handles("ConfirmPoints")
    def confirm_points(call: Call, request):
        customer_id, points = settle(call, request.purchase_id, "CONFIRMED")
        call.db.execute("UPDATE account SET pending_points = pending_points - ?1, points = points + ?1 WHERE customer_id = ?2",
                        (points, customer_id))
        return methods["ConfirmPoints"].response()

    @participant.handles("GetBalance")
    def get_balance(call: Call, request):
        row = call.db.execute("SELECT points, pending_points FROM account WHERE customer_id = ?",
                              (request.customer_id,)).fetchone() or (0, 0)
        return methods["GetBalance"].response(points=row[0], pending_points=row[1])

    return participant


def settle(call: Call, purchase_id: int, state: str) -> tuple[int, int]:
    """Moves a pending purchase to its last state; gives its customer and points."""
    row = call.db.execute("UPDATE purchase SET state = ? WHERE purchase_id = ? AND state = 'PENDING'"
                          " RETURNING customer_id, points", (state, purchase_id)).fetchone()
    if row is None:
        raise Refusal(Code.FAILED_PRECONDITION, "NOT_PENDING", f"purchase {purchase_id} has no pending points")
    return row


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="the loyalty service, a participant of the saga purchase",
                                     epilog="Stops on SIGTERM and SIGINT: what was accepted is committed and answered.")
    parser.add_argument("--schema", required=True, metavar="FILE", help="descriptor set of proto/loyalty (README.md)")
    parser.add_argument("--listen", default="tcp://127.0.0.1:7400", metavar="URL", help="tcp://HOST:PORT or ipc://PATH [%(default)s]")
    parser.add_argument("--data", default="loyalty.db", metavar="FILE", help="SQLite file [%(default)s]")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="bootstrap; none: no compensations are taken, effects wait")
    parser.add_argument("--barrier-retention-days", type=int, default=7, metavar="N",
                        help="longer than any saga lives, parked ones too [%(default)s]")
    parser.add_argument("--ready-file", metavar="FILE", help="written once it serves: JSON with name, pid and address")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args(arguments)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    settings = Settings(name="loyalty", listen=options.listen, data=options.data, kafka=options.kafka,
                        ready_file=options.ready_file, retention_days=options.barrier_retention_days)
    return make_participant(settings, Schema.load(options.schema)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
