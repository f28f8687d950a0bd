"""What the model of payorder knows: machines, orders, attempts, payments with
their pots, refunds and callbacks, and the few ways in which money moves.

Written from the specification alone (VERDICTS.md, DESIGN.md); nothing here was
taken from the extension's code.  Part of model.py.

Invariant, checked at every move: of each payment, amount + overdrawn = the sum
of the other pots, and no pot is below zero.
"""

import re
from dataclasses import dataclass, field

POTS = ("kept", "review", "owed", "returning", "returned", "disputed",
        "undone", "overdrawn")
PAYING = ("pay", "pay_part")
ADDRESSED = PAYING + ("pay_failed", "pay_closed", "authorised")
MONEY_EVENTS = PAYING + ("refund", "chargeback", "chargeback_reversed")
OPEN_REFUND = ("asked", "in_doubt", "stuck")
AUTOMATIC = ("late", "excess", "review")
DRAIN_RANK = {"pay": 1, "pay_part": 1,
              "pay_failed": 2, "pay_closed": 2, "authorised": 2,
              "refund": 3, "refund_failed": 4, "refund_stuck": 4,
              "pay_reversed": 5, "chargeback": 6, "chargeback_reversed": 6,
              "chargeback_lost": 6}

UNITS = {"ms": 1 / 60000, "s": 1 / 60, "m": 1, "h": 60, "d": 1440}


class Trouble(Exception):
    """An effect raised (line 20)."""


def minutes(interval):
    """'15m' -> 15."""
    number, unit = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", interval).groups()
    return int(number) * UNITS[unit]


def as_list(thing):
    return thing if isinstance(thing, list) else [thing]


class Machine:
    """A state machine, and the classes of its states that are read from its
    edges, never from names."""

    def __init__(self, name, definition):
        self.name = name
        self.initial = definition["initial"]
        self.parameters = definition.get("parameters", {})
        self.states = definition["states"]
        self.unpaid_side = self._reached_unpaid()
        self.refunded_states = {
            edge["target"] for state in self.states
            for edge in self.edges(state, "refunded")}

    def edges(self, state, event):
        return as_list(self.states[state].get("on", {}).get(event, []))

    def _reached_unpaid(self):
        reached, todo = set(), [self.initial]
        while todo:
            state = todo.pop()
            if state in reached:
                continue
            reached.add(state)
            for event in self.states[state].get("on", {}):
                if event not in ("pay", "reopen"):
                    todo += [edge["target"]
                             for edge in self.edges(state, event)]
        return reached

    def paid_side(self, state):
        return state not in self.unpaid_side

    def closing(self, state):
        return bool(self.edges(state, "close_confirmed"))

    def refunds_all(self, state):
        return any(action.get("enqueue") == "refund_all" for action
                   in as_list(self.states[state].get("entry", [])))

    def final(self, state):
        return self.states[state].get("type") == "final"

    def firing_timers(self, order):
        """[(minutes, event)] of the order's state."""
        found = []
        for interval, action in self.states[order.state].get(
                "after", {}).items():
            if "fire" not in action:
                continue
            if interval == "{pay_within}":
                length = order.pay_within
            elif interval == "{cooling_off}":
                length = order.cooling_off
            elif interval.startswith("{"):
                length = minutes(self.parameters[interval[1:-1]])
            else:
                length = minutes(interval)
            found.append((length, action["fire"]))
        return found


@dataclass
class Gateway:
    name: str
    failed_is_final: bool = True
    require_attempt: bool = False
    parallel_attempts: bool = False
    pay_id_pattern: str | None = None
    enabled: bool = True
    paused: bool = False


@dataclass(eq=False)
class Attempt:
    payment_no: str
    order: object
    gateway: str
    amount: int
    state: str = "open"


@dataclass(eq=False)
class Refund:
    """identity is the caller's number, or (gateway, txn, cause, how many such
    were before) of a refund that the kernel made."""

    identity: object
    payment: object
    amount: int
    cause: str
    state: str
    taken: dict = field(default_factory=dict)       # from which pots
    claimed: bool = False       # a worker had its task, ever
    leased: bool = False        # one has it
    task_over: bool = False     # done or dead
    under_review: bool = False
    kept_again: int = 0         # by a person's decision
    gateway_id: str | None = None
    succeeded_at: object = None

    @property
    def open(self):
        return self.state in OPEN_REFUND

    @property
    def unclaimed(self):
        """Nobody can have asked the gateway for it yet, or the gateway has
        said that it never had it."""
        return self.state == "held" or \
            (self.state in ("asked", "in_doubt") and not self.claimed)


@dataclass(eq=False)
class Payment:
    gateway: str
    txn_id: str
    event: str                  # pay or pay_part
    amount: int
    currency: str
    order: object = None
    attempt: object = None
    disposition: str = "review"
    reversed: bool = False
    pots: dict = None
    refunds: list = field(default_factory=list)     # oldest first

    def __post_init__(self):
        self.pots = dict.fromkeys(POTS, 0)
        self.pots["review"] = self.amount

    def pot(self, name):
        return self.pots[name]

    def balanced(self):
        inside = sum(self.pots.values()) - self.pots["overdrawn"]
        return self.amount + self.pots["overdrawn"] == inside and \
            min(self.pots.values()) >= 0

    def held(self):
        """What held returns will take of what is owed."""
        return sum(refund.amount for refund in self.refunds
                   if refund.state == "held")

    def stuck(self):
        return any(refund.state == "stuck" for refund in self.refunds)

    def move(self, source, target, amount):
        self.pots[source] -= amount
        self.pots[target] += amount
        assert self.balanced(), (self, source, target, amount)

    def come_back(self, source, amount, targets):
        """Money that comes back to the payment: first it lowers what is
        overdrawn, then it goes to the targets, [(pot, how much)]; after a
        reversal it is undone."""
        lowered = min(amount, self.pots["overdrawn"])
        self.pots[source] -= lowered
        self.pots["overdrawn"] -= lowered
        rest = amount - lowered
        if self.reversed:
            self.move(source, "undone", rest)
            if rest > 0:
                self.freeze()
            return
        for target, most in targets:
            part = min(rest, most)
            self.move(source, target, part)
            rest -= part
        assert rest == 0, (self, source, amount, targets)

    def freeze(self):
        """26: the order's payment was reversed (more of it than before)."""
        if self.order is not None and self.disposition == "order" and \
                self.order.machine.paid_side(self.order.state):
            self.order.frozen = True

    def take(self, amount, sources, target):
        """Takes from the pots in their order; the rest is overdrawn."""
        for source in sources:
            part = min(amount, self.pots[source])
            self.move(source, target, part)
            amount -= part
        self.pots["overdrawn"] += amount
        self.pots[target] += amount
        assert self.balanced(), (self, amount, target)

    def cancel(self, refund):
        """An unclaimed refund: its money back to the pots that it came
        from."""
        held = refund.state == "held"
        refund.state = "cancelled"
        if held:
            if refund.taken.get("kept"):
                self.come_back("owed", refund.amount,
                               [("kept", refund.amount)])
            return
        self.come_back("returning", refund.amount, list(refund.taken.items()))

    def cancel_all(self):
        for refund in reversed(self.refunds):
            if refund.unclaimed:
                self.cancel(refund)


@dataclass(eq=False)
class Order:
    number: str
    amount: int
    currency: str
    machine: Machine
    pay_within: float           # minutes
    cooling_off: float
    state: str = None
    frozen: bool = False
    refund_all_due: bool = False
    refund_all_waits: bool = False      # until none is stuck
    trouble: bool = False       # a trigger raises when its state changes
    payments: list = field(default_factory=list)
    attempts: list = field(default_factory=list)

    def __post_init__(self):
        self.state = self.machine.initial

    # ---- the money columns, over the payments of disposition order ----

    def _over(self, value):
        return sum(value(payment) for payment in self.payments
                   if payment.disposition == "order")

    @property
    def paid_amount(self):
        return self._over(lambda p: p.amount - p.pot("undone"))

    @property
    def refunding_amount(self):
        return self._over(lambda p: p.pot("returning"))

    @property
    def refunded_amount(self):
        return self._over(lambda p: p.pot("returned"))

    @property
    def disputed_amount(self):
        return self._over(lambda p: p.pot("disputed"))

    @property
    def overdrawn_amount(self):
        return self._over(lambda p: p.pot("overdrawn"))

    @property
    def kept(self):
        return sum(payment.pot("kept") for payment in self.payments)

    # ---- classes ----

    @property
    def left(self):
        """What is left to pay."""
        return self.amount - self.paid_amount

    @property
    def paid(self):
        return self.paid_amount >= self.amount and (
            self.amount > 0 or any(payment.disposition == "order"
                                   for payment in self.payments))

    @property
    def open(self):
        return not self.paid and self.has_edge("pay")

    @property
    def closing(self):
        return self.machine.closing(self.state)

    @property
    def is_refunded(self):
        return self.state in self.machine.refunded_states

    def has_edge(self, event):
        return bool(self.machine.edges(self.state, event))

    @property
    def open_attempts(self):
        return [one for one in self.attempts if one.state == "open"]

    def go(self, target):
        if target != self.state and self.trouble:
            raise Trouble
        self.state = target
        if self.machine.refunds_all(target):
            self.refund_all_due = True

    # ---- what a rolled back subtransaction leaves ----

    def snapshot(self):
        return (dict(vars(self)), list(self.payments),
                [dict(vars(one)) for one in self.attempts],
                [(dict(vars(one)), dict(one.pots), list(one.refunds),
                  [dict(vars(refund)) for refund in one.refunds])
                 for one in self.payments])

    def restore(self, saved):
        own, payments, attempts, purses = saved
        vars(self).update(own)
        self.payments = payments
        for one, values in zip(self.attempts, attempts):
            vars(one).update(values)
        for one, (values, pots, refunds, states) in zip(payments, purses):
            vars(one).update(values)
            one.pots, one.refunds = pots, refunds
            for refund, state in zip(refunds, states):
                vars(refund).update(state)


@dataclass
class Message:
    """What a gateway says; the reference is an order_no or a payment_no."""

    gateway: str
    txn_id: str
    event: str
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    occurred_at: object = None
    payment_txn: str | None = None
    refund_no: str | None = None
    amount_is_total: bool = False

    @property
    def key(self):
        return self.gateway, self.txn_id, self.event


FACTS = ("reference", "payment_txn", "refund_no", "amount", "currency")


@dataclass(eq=False)
class Callback:
    """The stored row of a key: the facts that count, and what was decided."""

    message: Message
    arrival: int
    line: str = None
    verdict: str = None
    detail: str = None
    invalid: bool = False       # as line 5 found
    order: Order = None         # as resolved when it was decided
    payment: Payment = None     # that it was decided on
    single: int | None = None   # what a running total came to
    attached: object = None     # to this order by a person
    set_aside: bool = False
    dispute_left: int = 0
    lost: bool = False
    decided: float = 0          # when the call that did ended

    @property
    def waiting(self):
        return self.verdict in ("parked", "deferred")

    @property
    def makes_known(self):
        """Whether others may have waited for it: what waits itself has no
        effect yet, but the payment of a parked pay is there."""
        return not self.waiting or (self.verdict == "parked" and
                                    self.message.event in PAYING)

    @property
    def drain_key(self):
        message = self.message
        return (DRAIN_RANK[message.event], message.occurred_at is None,
                message.occurred_at, self.arrival)
