"""The orders of the property test, as the world outside the database knows
them: what was said about them, what numbers they were given.
"""

import itertools
import random
from datetime import datetime, timedelta, timezone

from model_things import ADDRESSED, Message
from property_calls import Create, Ingest

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
FUTURE = datetime(2035, 1, 1, tzinfo=timezone.utc)


class Round:
    """What the stories of a round share."""

    def __init__(self, seed, number, options):
        self.seed, self.number, self.options = seed, number, options
        self.rng = random.Random(f"{seed}/{number}")
        self.count = itertools.count(1)
        self.gateways = {kind: f"{kind}{number}" for kind in
                         ("able", "fussy", "strict", "thrifty", "closed")}
        self.paused = set()
        self.subjects = []
        self.share = options.messages / options.orders
        self.phase = 1
        self.held = {}                  # order_no: refunds held before
        self.payments_before = []       # messages of earlier phases
        self.refund_nos = []            # of ours, as requested

    def time(self):
        """Each message has a time of its own, so that the order of draining
        does not depend on how sessions interleave."""
        return START + timedelta(milliseconds=next(self.count))

    def later_time(self):
        return FUTURE + timedelta(milliseconds=next(self.count))


class Subject:
    """An order, and what is known about it outside the database."""

    def __init__(self, round_, i, kind):
        self.round, self.i, self.kind = round_, i, kind
        self.rng = random.Random(f"{round_.seed}/{round_.number}/{i}")
        rng = self.rng
        self.number = f"P{round_.number}x{i}"
        self.amount = 0 if kind == "zero" else rng.choice(
            (100, 250, rng.randint(20, 5000)))
        self.currency = rng.choice(("CNY", "CNY", "USD"))
        self.machine = {"parts": "parts", "brief": "brief"}.get(kind, "order")
        self.pay_within = rng.choice((10, 144000))
        self.cooling_off = rng.choice((1, 144000))
        self.attempts = []          # (payment_no, gateway, amount)
        self.sent = []              # messages, to be said again
        self.said = 0
        # open: said as pay and as pay_part, and one of them invalid
        self.flipped, self.spoiled = set(), set()
        self.created = False
        # serial: messages come before what they name, but all calls of the
        # order one at a time; else nothing is named before it is known
        self.serial = (kind in ("unknown", "brief") or rng.random() < 0.3) \
            and not round_.options.overlap
        self.known = set()          # keys that were answered
        self.refunds = []           # (refund_no, gateway, txn, amount)
        self.counts = itertools.count(1)

    def name(self, what, gateway=None):
        text = f"{self.round.number}x{self.i}{what}{next(self.counts)}"
        if gateway == self.round.gateways["fussy"] and what == "p":
            return "pi_" + text
        return text

    def gateway(self, *kinds):
        return self.round.gateways[self.rng.choice(
            kinds or ("able", "able", "fussy", "thrifty"))]

    def message(self, event, gateway, txn_id, reference=None, amount=None,
                currency=None, **more):
        if gateway in self.round.paused and event not in ADDRESSED:
            # open: what waits for a pause without an order
            if not self.created:
                return None
            reference = reference or self.number
        message = Message(gateway, txn_id, event, reference, amount, currency,
                          more.pop("at", None) or self.round.time(), **more)
        self.sent.append(message)
        self.said += 1
        if event in ("pay", "pay_part"):
            self.round.latest_payments.append((self, message))
        return Ingest(self.number, message)

    def pay(self, gateway, reference, amount, currency=None, event="pay",
            **more):
        return self.message(event, gateway, self.name("p", gateway), reference,
                            amount, currency or self.currency, **more)

    def payments(self):
        return [message for message in self.sent
                if message.event in ("pay", "pay_part")]

    def some_payment(self):
        """One that was or will be said, or None."""
        said = self.payments()
        if not (self.serial or self.round.options.overlap):
            said = [message for message in said if message.key in self.known
                    and (message.amount or 0) > 0]
        return self.rng.choice(said) if said else None

    def create(self):
        return Create(self.number, self.amount, self.currency, self.machine,
                      self.pay_within, self.cooling_off)
