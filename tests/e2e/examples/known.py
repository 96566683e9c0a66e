"""What is known of each saga in examples/: who takes part, what it can be started with and how that ends, and what must
hold of its databases at rest."""
import collections

from harness.databases import query

HELD, SETTLED = 1, 2
ANNOUNCED, POSTED = 1, 2
RESERVED, ISSUED = 1, 2
ACTIVE = 2
TEAM_CENTS, BUSINESS_CENTS = 4900, 49900
TEAM_GIB, BUSINESS_GIB = 20, 500
MANY = 10**6


def rows(daemon, sql):
    """The rows of a table of two columns as a dictionary."""
    return dict(query(daemon, sql))


def value(daemon, sql):
    return query(daemon, sql)[0][0] or 0


class Transfer:
    """Money from one bank to another."""

    NAME = SAGA = "transfer"
    SERVICES = {"debitd": "transfer.v1.DebitService", "creditd": "transfer.v1.CreditService"}
    REASONS = {
        "good": "", "poor": "NOT_ENOUGH_MONEY", "closed payer": "ACCOUNT_CLOSED", "daily limit": "DAILY_LIMIT",
        "unknown payer": "ACCOUNT_UNKNOWN", "nothing": "AMOUNT_INVALID", "closed payee": "ACCOUNT_CLOSED",
        "unknown payee": "ACCOUNT_UNKNOWN", "full": "BALANCE_LIMIT", "long": "REFERENCE_TOO_LONG",
    }
    SEED = {
        "payers": [{"id": f"N{n}", "holder": f"n{n}", "state": "OPEN", "balance_cents": 10**9, "daily_limit_cents": 10**8}
                   for n in range(5)]
        + [{"id": "poor", "holder": "p", "state": "OPEN", "balance_cents": 50, "daily_limit_cents": 10**8},
           {"id": "closed", "holder": "c", "state": "CLOSED", "balance_cents": 900, "daily_limit_cents": 10**8}],
        "payees": [{"id": f"S{n}", "holder": f"s{n}", "state": "OPEN", "balance_cents": 1000, "limit_cents": 10**10}
                   for n in range(5)]
        + [{"id": "full", "holder": "f", "state": "OPEN", "balance_cents": 1000, "limit_cents": 1000},
           {"id": "closed", "holder": "c", "state": "CLOSED", "balance_cents": 0, "limit_cents": 10**10}],
    }

    @staticmethod
    def make(kind, key, rng):
        message = {"transfer_id": key, "from_account": f"N{rng.randrange(5)}", "to_account": f"S{rng.randrange(5)}",
                   "amount_cents": rng.randint(100, 5000), "reference": "rent"}
        message.update({"poor": {"from_account": "poor"}, "closed payer": {"from_account": "closed"},
                        "unknown payer": {"from_account": "nobody"}, "closed payee": {"to_account": "closed"},
                        "daily limit": {"amount_cents": 10**8 + 1}, "nothing": {"amount_cents": 0},
                        "unknown payee": {"to_account": "nobody"}, "full": {"to_account": "full"},
                        "long": {"reference": "x" * 141}}.get(kind, {}))
        return message

    @classmethod
    def check(cls, daemons, completed):
        debit, credit = daemons["debitd"], daemons["creditd"]
        there = value(debit, "SELECT sum(balance_cents) FROM account")
        away = value(credit, "SELECT sum(balance_cents) FROM account")
        held = value(debit, f"SELECT sum(amount_cents) FROM hold WHERE state = {HELD}")
        assert held == 0, f"{held} cents are held at rest"
        assert value(credit, f"SELECT count(*) FROM credit WHERE state = {ANNOUNCED}") == 0, "announced at rest"
        before = sum(account["balance_cents"] for account in cls.SEED["payers"] + cls.SEED["payees"])
        assert there + away == before, f"{there} + {away} cents, {before} before"
        settled = rows(debit, f"SELECT transfer_id, amount_cents FROM hold WHERE state = {SETTLED}")
        posted = rows(credit, f"SELECT transfer_id, amount_cents FROM credit WHERE state = {POSTED}")
        assert settled == posted, f"what left is not what came: {set(settled.items()) ^ set(posted.items())}"
        assert set(settled) == completed, f"transfers and sagas disagree: {set(settled) ^ completed}"


class Trip:
    """Flight, hotel, car."""

    NAME = SAGA = "trip"
    SERVICES = {"flightd": "trip.v1.FlightService", "hoteld": "trip.v1.HotelService", "rentald": "trip.v1.CarService",
                "cardd": "trip.v1.CardService"}
    REASONS = {
        "good": "", "with car": "", "full flight": "FLIGHT_FULL", "unknown flight": "FLIGHT_UNKNOWN",
        "crowd": "TRAVELLERS_INVALID", "full hotel": "HOTEL_FULL", "unknown hotel": "HOTEL_UNKNOWN",
        "no car left": "CARS_OUT", "unknown car": "CAR_UNKNOWN", "card limit": "CARD_LIMIT", "blocked card": "CARD_BLOCKED",
        "unknown card": "CARD_UNKNOWN",
    }
    SEED = {
        "flights": [{"flight": f"F{n}", "price_cents": 1000 + n, "seats": MANY} for n in range(3)]
        + [{"flight": "full", "price_cents": 1, "seats": 0}],
        "hotels": [{"hotel": f"H{n}", "price_cents": 2000 + n, "rooms": MANY} for n in range(3)]
        + [{"hotel": "full", "price_cents": 1, "rooms": 0}],
        "cars": [{"car": "small", "price_cents": 700, "cars": MANY}, {"car": "van", "price_cents": 1, "cars": 0}],
        "cards": [{"card": f"C{n}", "open_cents": 10**10, "blocked": False} for n in range(3)]
        + [{"card": "poor", "open_cents": 10, "blocked": False}, {"card": "blocked", "open_cents": 10**10, "blocked": True}],
    }

    @staticmethod
    def make(kind, key, rng):
        message = {"trip_id": key, "travellers": rng.randint(1, 4), "flight": f"F{rng.randrange(3)}",
                   "hotel": f"H{rng.randrange(3)}", "nights": rng.randint(1, 5), "card": f"C{rng.randrange(3)}"}
        car = {"with_car": True, "car": "small"}
        message.update({
            "with car": car, "full flight": {"flight": "full"}, "unknown flight": {"flight": "none", **car},
            "crowd": {"travellers": 10}, "full hotel": {"hotel": "full", **car}, "unknown hotel": {"hotel": "none"},
            "no car left": {"with_car": True, "car": "van"}, "unknown car": {"with_car": True, "car": "none"},
            "card limit": {"card": "poor", **car}, "blocked card": {"card": "blocked"},
            "unknown card": {"card": "none", **car}}.get(kind, {}))
        return message

    @classmethod
    def check(cls, daemons, completed):
        flight, hotel, rental, card = (daemons[name] for name in ("flightd", "hoteld", "rentald", "cardd"))
        for daemon, table, booked, taken, there, what in (
                (flight, "flight", "booking", "sum(seats)", "seats", "flights"),
                (hotel, "hotel", "stay", "count(*)", "rooms", "hotels"),
                (rental, "car", "rental", "count(*)", "cars", "cars")):
            free = rows(daemon, f"SELECT {table}, {there} FROM {table}")
            sold = rows(daemon, f"SELECT {table}, {taken} FROM {booked} WHERE state <> 3 GROUP BY {table}")
            for row in cls.SEED[what]:
                name = row[table]
                assert free[name] + sold.get(name, 0) == row[there], f"{table} {name}: {free[name]} + {sold.get(name, 0)}"
        for daemon, booked in ((flight, "booking"), (hotel, "stay")):
            assert value(daemon, f"SELECT count(*) FROM {booked} WHERE state = {RESERVED}") == 0, f"{booked}: held at rest"
            issued = {row[0] for row in query(daemon, f"SELECT trip_id FROM {booked} WHERE state = {ISSUED}")}
            assert issued == completed, f"{booked} and sagas disagree: {issued ^ completed}"
        driving = {row[0] for row in query(rental, f"SELECT trip_id FROM rental WHERE state = {RESERVED}")}
        assert driving <= completed, f"cars without a trip: {driving - completed}"
        cls.check_money(daemons, completed)

    @classmethod
    def check_money(cls, daemons, completed):
        """What was charged is what was booked, and what the cards have less."""
        price = {row["flight"]: row["price_cents"] for row in cls.SEED["flights"]}
        due = collections.Counter()
        for trip, flight, seats in query(daemons["flightd"], "SELECT trip_id, flight, seats FROM booking WHERE state = 2"):
            due[trip] += price[flight] * seats
        price = {row["hotel"]: row["price_cents"] for row in cls.SEED["hotels"]}
        for trip, hotel, nights in query(daemons["hoteld"], "SELECT trip_id, hotel, nights FROM stay WHERE state = 2"):
            due[trip] += price[hotel] * nights
        for trip, days in query(daemons["rentald"], "SELECT trip_id, days FROM rental WHERE state = 1"):
            due[trip] += 700 * days
        charged = rows(daemons["cardd"], "SELECT trip_id, amount_cents FROM charge")
        assert charged == dict(due) and set(charged) == completed, f"charged {charged}, due {due}"
        spent = rows(daemons["cardd"], "SELECT card, sum(amount_cents) FROM charge GROUP BY card")
        for card, left in query(daemons["cardd"], "SELECT card, open_cents FROM card"):
            before = next(row["open_cents"] for row in cls.SEED["cards"] if row["card"] == card)
            assert left + spent.get(card, 0) == before, f"card {card}"


class Onboarding:
    """Tenants with a database, a bucket, perhaps a domain, and a subscription."""

    NAME = "onboarding"
    SAGA = "onboard"
    SERVICES = {"tenantd": "onboarding.v1.TenantService", "databased": "onboarding.v1.DatabaseService",
                "storaged": "onboarding.v1.StorageService", "billingd": "onboarding.v1.BillingService"}
    REASONS = {
        "good": "", "with domain": "", "bad name": "NAME_INVALID", "no plan": "PLAN_INVALID", "full region": "REGION_FULL",
        "unknown region": "REGION_UNKNOWN", "full disk": "STORAGE_FULL", "domain of a team": "PLAN_HAS_NO_DOMAIN",
        "bad domain": "DOMAIN_INVALID", "declined": "PAYMENT_DECLINED", "unknown customer": "CUSTOMER_UNKNOWN",
    }
    SEED = {
        "servers": [{"server": f"db{n}", "region": "north", "room": MANY} for n in range(3)]
        + [{"server": "db3", "region": "island", "room": 0}, {"server": "db4", "region": "south", "room": MANY}],
        "disks": [{"region": "north", "free_gib": MANY}, {"region": "island", "free_gib": MANY},
                  {"region": "south", "free_gib": 1}],
        "customers": [{"customer": "rich", "money_cents": 10**12}, {"customer": "poor", "money_cents": 10}],
    }

    @staticmethod
    def make(kind, key, rng):
        message = {"tenant": key, "plan": rng.choice(["PLAN_TEAM", "PLAN_BUSINESS"]), "region": "north", "customer": "rich"}
        domain = {"plan": "PLAN_BUSINESS", "domain": f"{key}.example"}
        message.update({
            "with domain": domain, "bad name": {"tenant": "1" + key}, "no plan": {"plan": "PLAN_UNSPECIFIED"},
            "full region": {"region": "island"}, "unknown region": {"region": "west"}, "full disk": {"region": "south"},
            "domain of a team": {"plan": "PLAN_TEAM", "domain": f"{key}.example"}, "bad domain": {**domain, "domain": "x"},
            "declined": {**domain, "customer": "poor"}, "unknown customer": {"customer": "nobody"}}.get(kind, {}))
        return message

    @classmethod
    def check(cls, daemons, completed):
        tenants = {row[0]: row[1:] for row in query(
            daemons["tenantd"], "SELECT tenant, plan, state, database, bucket, subscription FROM tenant")}
        assert set(tenants) == completed, f"tenants and sagas disagree: {set(tenants) ^ completed}"
        for tenant, (_, state, *things) in tenants.items():
            assert state == ACTIVE and all(things), f"tenant {tenant}: {state} {things}"
        for name, table in (("databased", "database"), ("storaged", "bucket"), ("billingd", "subscription")):
            have = {row[0] for row in query(daemons[name], f"SELECT tenant FROM {table}")}
            assert have == completed, f"{table}s of nobody, or tenants without: {have ^ completed}"
        domains = rows(daemons["tenantd"], "SELECT domain, tenant FROM domain")
        assert set(domains.values()) <= completed, "domains that lead nowhere"
        used = rows(daemons["databased"], "SELECT server, count(*) FROM database GROUP BY server")
        for row in cls.SEED["servers"]:
            room = rows(daemons["databased"], "SELECT server, room FROM server")[row["server"]]
            assert room + used.get(row["server"], 0) == row["room"], f"server {row['server']}: {room} left"
        used = rows(daemons["storaged"], "SELECT region, sum(gib) FROM bucket GROUP BY region")
        for region, free in query(daemons["storaged"], "SELECT region, free_gib FROM disk"):
            before = next(row["free_gib"] for row in cls.SEED["disks"] if row["region"] == region)
            assert free + used.get(region, 0) == before, f"disk {region}: {free} left"
        paid = value(daemons["billingd"], "SELECT sum(month_cents) FROM subscription")
        assert paid == sum(TEAM_CENTS if row[0] == 1 else BUSINESS_CENTS for row in tenants.values())
        left = value(daemons["billingd"], "SELECT sum(money_cents) FROM customer")
        assert left + paid == sum(row["money_cents"] for row in cls.SEED["customers"])


ALL = (Transfer, Trip, Onboarding)
