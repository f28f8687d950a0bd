"""What happens to each order, drawn from the seed before it happens.

The parts of a fate and their dice; stories.draw(seed, i) makes a whole one and
depends on nothing else, so that no interleaving of processes can change which
messages are sent, which get lost or are repeated, and where each payment's
money must end.  Shop, gateways and director draw it each for themselves; none
tells the others.

Invariant: a fate's outcome doesn't depend on who is faster.  Where it would
(which of two payments is the order's), its story makes the one wait for the
other.
"""

import hashlib
import random
from dataclasses import dataclass, field

POTS = ("kept", "review", "owed", "returning", "returned", "disputed",
        "undone", "overdrawn")
LOST = 0.11         # of those callbacks that a question to the gateway finds
REPEATED = 0.30
BURST = 0.004       # repeated 64 times at once
BURST_SIZE = 64


@dataclass
class Delivery:
    """How a callback is sent: not at all, late, again."""

    lost: bool
    copies: int
    burst: bool
    delay: float
    gap: float


@dataclass
class Back:
    """How a gateway treats a request to pay back.

    outcome: ok · slow (pending, done later) · refused · stuck · never (no
    answer, never done).  silences: so many requests get no answer first, nor
    do those of the first silent_for seconds; done_in_silence: the first of
    them was carried out all the same.  cured: what a stuck one becomes once a
    person has seen to it in the gateway's console: done or refused.
    """

    outcome: str = "ok"
    silences: int = 0
    silent_for: float = 0
    done_in_silence: bool = False
    takes: float = 1.5          # seconds that a slow one is pending
    cured: str = "done"
    delivery: Delivery = None


@dataclass
class Try:
    """One try to pay at one gateway; k is its number within the order."""

    k: int
    gateway: str
    txn_id: str
    amount: int                 # what the buyer pays, right or wrong
    currency: str
    pay: Delivery
    end: Delivery               # of its failure or closing
    known: bool = True          # whether the gateway has heard of its number
    silences: int = 0           # so often asking to close gets no answer
    closes: bool = True         # False: no answer until it is paid
    failures: int = 0           # Stripe: declined so often first
    finished: bool = False      # Alipay: TRADE_FINISHED follows
    back: Back = field(default_factory=Back)     # of refunds payorder makes
    again: Back = None          # of those that people ask for
    pots: dict = field(default_factory=dict)     # where its money must end


@dataclass
class RefundPlan:
    """A refund that the shop asks for; refused: payorder must refuse it.

    over: it may need several payments.  suspect: support's reason is such
    that whoever decides about it cancels it.
    """

    number: str
    amount: int
    back: Back
    refused: bool = False
    over: bool = False
    suspect: bool = False


@dataclass
class Dispute:
    """A buyer's bank takes the money of a payment back, and may lose."""

    k: int
    amount: int
    withdrawn: Delivery
    ended: Delivery


@dataclass
class Fate:
    i: int
    order_no: str
    story: str
    variant: int
    amount: int
    currency: str
    pay_within: str | None = None
    cooling_off: str | None = None
    tries: list = field(default_factory=list)
    refunds: list = field(default_factory=list)
    disputes: list = field(default_factory=list)
    machine: str = "order"
    price: int = None           # what it is repriced to
    console: int = 0            # refunded in the gateway's console
    foreign: Try | None = None  # a payment that names nobody
    end: str = "completed"      # the state that it must end in
    rng: random.Random = None

    def refund(self, number):
        for plan in self.refunds:
            if plan.number == number:
                return plan
        return None


def transaction_id(gateway, seed, i, k):
    """The gateway's id of a payment, in the form that the gateway uses."""
    mix = hashlib.sha256(f"{seed}/{i}/{k}/{gateway}".encode())
    if gateway == "stripe":
        return "pi_3" + mix.hexdigest()[:23]
    if gateway == "adyen":
        return mix.hexdigest()[:16].upper()
    if gateway == "till":
        return "T" + mix.hexdigest()[:20]
    digits = "%014d" % (int(mix.hexdigest()[:14], 16) % 10 ** 14)
    if gateway == "wechat":
        return "4200%06d%s%s" % (i % 10 ** 6, "%04d" % (k % 10 ** 4), digits)
    return "2024%06d22001%s" % (i % 10 ** 6, digits[:13])


def delivery(rng, may_lose=True):
    """Draws the faults of one callback; the number of draws is fixed."""
    lost = rng.random() < LOST and may_lose
    repeated = rng.random()
    few = rng.choice((1, 1, 1, 1, 2, 3))
    pace = rng.random()
    delay = rng.random()
    gap = rng.random() * 2
    burst = repeated < BURST
    if pace < 0.6:
        delay *= 0.3
    elif pace < 0.9:
        delay = 0.3 + delay * 1.2
    else:
        delay = 1.5 + delay * 2.5
    copies = 0
    if repeated < REPEATED:
        copies = BURST_SIZE - 1 if burst else few
    return Delivery(lost, copies, burst, delay, 0 if burst else gap)


def draw_back(rng, refusable=False):
    """Draws how a gateway treats a refund that goes through in the end."""
    dice = rng.random()
    silences = rng.choice((1, 1, 2))
    in_silence = rng.random() < 0.5
    back = Back(delivery=delivery(rng))
    if dice < 0.12:
        back.silences, back.done_in_silence = silences, in_silence
    elif dice < 0.24:
        back.outcome = "slow"
    elif refusable and dice > 0.92:
        back.outcome = "refused"
    return back


def draw_amount(rng, currency):
    amount = rng.randint(100, 200_000)
    return amount // 10 * 10 if currency == "KWD" else amount


def add_try(fate, seed, gateway, amount=None, currency=None, may_lose=True):
    """Adds a try that pays the order's amount in its currency, if not told."""
    rng = fate.rng
    k = len(fate.tries)
    made = Try(k, gateway, transaction_id(gateway, seed, fate.i, k),
               fate.amount if amount is None else amount,
               currency or fate.currency,
               delivery(rng, may_lose), delivery(rng, may_lose),
               back=draw_back(rng))
    made.finished = gateway == "alipay" and rng.random() < 0.1
    made.failures = rng.choice((1, 1, 2, 3))
    made.again = draw_back(rng)
    fate.tries.append(made)
    return made


def money(amount, **pots):
    """The pots of a payment: what is not said elsewhere is kept."""
    full = dict.fromkeys(POTS, 0)
    full.update(pots)
    full["kept"] = amount + 2 * full["overdrawn"] - sum(full.values())
    return full


def shop_keeps(txn_id):
    """What the shop does with money that a failed refund left with it.

    Its policy: people (people.py) hold to it, and the fates foresee it.
    """
    return hashlib.sha256(txn_id.encode()).digest()[0] % 3 == 0


def after_failure(made, amount):
    """The pots of an order's payment when the refund of an amount failed."""
    return money(made.amount) if shop_keeps(made.txn_id) \
        else money(made.amount, returned=amount)


def draw_gateway(rng):
    dice = rng.random()
    for share, gateway in ((0.37, "wechat"), (0.68, "alipay"),
                           (0.92, "stripe")):
        if dice < share:
            return gateway
    return "till"


def draw_currency(rng, gateway):
    dice = rng.random()
    if gateway == "adyen":
        return "EUR"
    if gateway != "stripe":
        return "CNY"
    for share, currency in ((0.4, "USD"), (0.7, "EUR"), (0.85, "JPY"),
                            (0.95, "KWD")):
        if dice < share:
            return currency
    return "ISK"
