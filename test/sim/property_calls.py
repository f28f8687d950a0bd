"""The calls that the property test makes: how each is said to payorder and how
to the model (model.py).

Every statement draws a number from the sequence property_order after its call
and before its commit.  What decided the call's outcome (the order's row, the
key) is locked until the commit, so these numbers are an order in which the
calls can be told to the model one after the other.
"""

import json
from dataclasses import dataclass, field

from model_things import Message

INGEST = """
SELECT r.verdict, r.detail, r.first_verdict, r.order_no,
       nextval('property_order')
FROM payorder.ingest(gateway => %s, txn_id => %s, event => %s, order_no => %s,
    amount => %s::bigint, currency => %s, occurred_at => %s::timestamptz,
    payment_txn => %s, refund_no => %s, amount_is_total => %s,
    payload => '{}') AS r
"""
CREATE = """
SELECT r.order_no, nextval('property_order')
FROM payorder.create_order(%s, %s, %s, machine => %s,
    pay_within => %s * interval '1 minute',
    cooling_off => %s * interval '1 minute') AS r
"""
BEGIN = """
SELECT r.payment_no, nextval('property_order')
FROM payorder.begin_payment(%s, %s, amount => %s::bigint, parallel => %s) AS r
"""
FIRE = """
SELECT r.state, nextval('property_order') FROM payorder.fire(%s, %s) AS r
"""
REQUEST = """
SELECT r.amount, nextval('property_order')
FROM payorder.request_refund(%s, %s, amount => %s::bigint, payment => %s,
    gateway => %s) AS r
"""
CLAIM = """
SELECT t.order_no, t.task, t.token, t.kind, t.gateway, t.payload,
       nextval('property_order')
FROM payorder.claim(%s, max_tasks => %s, worker => %s, gateways => %s) AS t
"""
COMPLETE = """
SELECT coalesce(json_agg(json_build_array(r.verdict, r.detail)), '[]'),
       nextval('property_order')
FROM payorder.complete(%s, %s, %s) AS r
"""
FAIL = """
SELECT r, nextval('property_order')
FROM payorder.fail(%s, %s, 'no answer', %s) AS r
"""
SETTLE_CALLBACK = """
SELECT r.verdict, r.detail, nextval('property_order')
FROM payorder.settle_callback(%s, %s, %s, %s, 'person', 'test', %s) AS r
"""
SETTLE_REFUND = """
SELECT r.state, now(), nextval('property_order')
FROM payorder.settle_refund(%s, %s, 'person', 'test') AS r
"""


def short(expected):
    if isinstance(expected, list):
        return ", ".join(map(short, expected))
    if expected is None:
        return "-"
    return f"{expected.verdict}({expected.detail}) by {expected.line}"


def facts(message):
    """A message in short."""
    said = [message.gateway, message.event, message.txn_id]
    for name in ("reference", "amount", "currency", "payment_txn",
                 "refund_no"):
        if getattr(message, name) is not None:
            said.append(f"{name}={getattr(message, name)}")
    if message.amount_is_total:
        said.append("total")
    return " ".join(said) + f" at={message.occurred_at:%Y %H:%M:%S.%f}"


@dataclass
class Call:
    """subject: the order_no that its story is about.  After it was made,
    number is its place and answer what the database said."""

    subject: str
    number: int = field(default=None, init=False)
    answer: object = field(default=None, init=False)
    expected: object = field(default=None, init=False)
    began: float = field(default=0, init=False)     # when
    ended: float = field(default=0, init=False)
    messages = 0

    def take(self, rows):
        """Reads the statement's rows; returns the calls that are to be told to
        the model."""
        *answer, self.number = rows[0]
        self.answer = tuple(answer)
        return [self]

    def tell(self, model):
        """Tells the model; returns what differs, or None."""
        raise NotImplementedError

    def told(self):
        """What is said, in short."""
        return " ".join(str(value) for value in self.params)

    def __str__(self):
        return (f"{self.number:7} {type(self).__name__:14} {self.told()}\n"
                f"{'':10}database: {self.answer}   "
                f"model: {short(self.expected)}"
                f"   {self.began % 1000:.4f} to {self.ended % 1000:.4f}"
                + f"   took {self.seconds:.0f} s" * (self.seconds > 1))

    @property
    def seconds(self):
        return self.ended - self.began


def agree(answer, expected):
    """Whether a verdict is as the model says; the law names not every
    detail."""
    return answer[0] == expected.verdict and (
        expected.detail == "(any)" or answer[1] == expected.detail)


@dataclass
class Ingest(Call):
    message: Message
    messages = 1

    sql = INGEST

    def told(self):
        return facts(self.message)

    @property
    def params(self):
        m = self.message
        return (m.gateway, m.txn_id, m.event, m.reference, m.amount,
                m.currency, m.occurred_at, m.payment_txn, m.refund_no,
                m.amount_is_total)

    def tell(self, model):
        locked = self.answer[:2] == ("deferred", "locked")
        expected = self.expected = model.ingest(self.message, locked)
        if not agree(self.answer, expected) and \
                not self.became(model, expected) and \
                not self.before(model):
            return (f"{expected.verdict}({expected.detail}) by line "
                    f"{expected.line}")
        if self.answer[0] == "duplicate" and expected.line == "6" and \
                not self.before(model) and \
                expected.first_verdict != self.answer[2]:
            return f"first verdict {expected.first_verdict}"
        return None


    def before(self, model):
        """6: a duplicate is looked up without a lock: it may still have seen
        the invalid message that 5b was just replacing."""
        return self.answer[:2] == ("duplicate", "invalid") and \
            model.replaced.get(self.message.key, 0) > self.began

    def became(self, model, expected):
        """7: seen while it was waiting, and decided by another call before
        this one had the lock: it returns what it became."""
        row = model.callbacks.get(self.message.key)
        return expected.line == "6" and row.decided > self.began and \
            row.detail in (self.answer[1], "(any)") and \
            row.verdict == self.answer[0]


@dataclass
class Create(Call):
    amount: int
    currency: str
    machine: str
    pay_within: int
    cooling_off: int
    sql = CREATE

    @property
    def params(self):
        return (self.subject, self.amount, self.currency, self.machine,
                self.pay_within, self.cooling_off)

    def tell(self, model):
        model.create_order(*self.params)


@dataclass
class Begin(Call):
    gateway: str
    amount: int | None
    parallel: bool
    sql = BEGIN

    @property
    def params(self):
        return self.subject, self.gateway, self.amount, self.parallel

    def tell(self, model):
        model.begin_payment(self.subject, self.gateway, self.answer[0],
                            self.amount, self.parallel)


@dataclass
class Fire(Call):
    event: str
    sql = FIRE

    @property
    def params(self):
        return self.subject, self.event

    def tell(self, model):
        model.fire(*self.params)
        state = model.orders[self.subject].state
        if state != self.answer[0]:
            return state


@dataclass
class RequestRefund(Call):
    refund_no: str
    amount: int | None
    payment: tuple | None = None        # (gateway, txn_id)
    sql = REQUEST

    @property
    def params(self):
        gateway, txn_id = self.payment or (None, None)
        return self.refund_no, self.subject, self.amount, txn_id, gateway

    def tell(self, model):
        model.request_refund(self.refund_no, self.subject, self.amount,
                             self.payment)
        amount = model.refunds[self.refund_no].amount
        if amount != self.answer[0]:
            return f"amount {amount}"


@dataclass
class Claimed(Call):
    """One task of those that a claim got."""

    task: int
    token: int
    kind: str
    gateway: str
    payload: dict

    def told(self):
        return f"{self.kind} {self.gateway} {self.payload}"

    def tell(self, model):
        model.lease(self.task)
        if "refund_no" in self.payload:
            model.claim(self.kind, self.payload["refund_no"])


@dataclass
class Claim(Call):
    kinds: list
    most: int
    gateways: list
    sql = CLAIM

    @property
    def params(self):
        return self.kinds, self.most, "property", self.gateways

    def take(self, rows):
        self.answer = []
        for order_no, task, token, kind, gateway, payload, number in rows:
            one = Claimed(order_no, task, token, kind, gateway, payload)
            one.number, one.answer = number, (task,)
            self.answer.append(one)
        return list(self.answer)


def as_json(message):
    facts = {"txn_id": message.txn_id, "event": message.event,
             "order_no": message.reference, "amount": message.amount,
             "currency": message.currency, "payment_txn": message.payment_txn,
             "refund_no": message.refund_no,
             "occurred_at": message.occurred_at.isoformat()}
    if message.amount_is_total:
        facts["amount_is_total"] = True
    return {name: value for name, value in facts.items() if value is not None}


@dataclass
class Complete(Call):
    claimed: Claimed
    said: list = field(default_factory=list)
    unknown: bool = False
    confirmed: list | None = None
    all_confirmed: bool = False
    sql = COMPLETE

    @property
    def messages(self):
        return len(self.said)

    def told(self):
        return f"{self.claimed.told()} " + (
            "; ".join(map(facts, self.said)) or
            f"unknown={self.unknown} confirmed={self.confirmed}")

    @property
    def params(self):
        result = {}
        if self.said:
            result["messages"] = [as_json(message) for message in self.said]
        if self.unknown:
            result["unknown"] = True
        if self.confirmed is not None:
            result["confirmed"] = self.confirmed
        return self.claimed.task, self.claimed.token, json.dumps(result)

    def tell(self, model):
        model.leases.discard(self.claimed.task)
        expected = self.expected = model.complete(
            self.claimed.kind, self.claimed.payload.get("refund_no"),
            self.said, self.all_confirmed, self.unknown)
        for answer, one in zip(self.answer[0], expected):
            if not agree(answer, one):
                return (f"{one.verdict}({one.detail}) by line {one.line}")


@dataclass
class Fail(Call):
    claimed: Claimed
    retryable: bool
    sql = FAIL

    def told(self):
        return f"{self.claimed.told()} retryable={self.retryable}"

    @property
    def params(self):
        return self.claimed.task, self.claimed.token, self.retryable

    def tell(self, model):
        model.leases.discard(self.claimed.task)
        if "refund_no" in self.claimed.payload:
            model.fail(self.claimed.kind, self.claimed.payload["refund_no"],
                       self.retryable)


@dataclass
class SettleCallback(Call):
    key: tuple
    decision: str
    order_no: str | None = None
    sql = SETTLE_CALLBACK

    @property
    def params(self):
        return (*self.key, self.decision, self.order_no)

    def tell(self, model):
        expected = self.expected = model.settle_callback(
            self.key, self.decision, self.order_no)
        if not agree(self.answer, expected):
            return f"{expected.verdict}({expected.detail})"


@dataclass
class SettleRefund(Call):
    refund_no: str
    decision: str
    sql = SETTLE_REFUND

    @property
    def params(self):
        return self.refund_no, self.decision

    def tell(self, model):
        model.settle_refund(self.refund_no, self.decision, self.answer[1])
        state = model.refund(self.refund_no).state
        if state != self.answer[0]:
            return state


@dataclass
class Alone(Call):
    """What the director does between the storms: pause, resume, trouble (its
    argument an order), sweep (minutes)."""

    what: str
    argument: object

    def told(self):
        return f"{self.what} {self.argument}"

    def tell(self, model):
        if self.what == "trouble on":
            model.trouble(self.argument, True)
        elif self.what == "trouble off":
            model.trouble(self.argument, False)
        else:
            getattr(model, self.what)(self.argument)


