"""What happens to the orders of the property test.

A story is a generator: it yields calls and is given each back when it was
made, or None if payorder refused it.  Several stories of one order run at
once, in any interleaving of the sessions; each draws from its own seed.  The
stories only choose what is said; what must come of it is the model's business.

Where the law leaves the outcome of a combination open, no story makes it
(marked "open").
"""

from dataclasses import replace
from datetime import timedelta

from model_things import ADDRESSED
from property_calls import (Begin, Fire, Ingest, RequestRefund, SettleCallback,
                            SettleRefund)
from property_subjects import START


# ---- stories ----

def created(o, wait=0):
    for _ in range(wait):
        yield None
    while o.round.paused or not (yield o.create()):
        yield None
    o.created = True


def after_creation(o, wait):
    for _ in range(wait):
        yield None
    while not o.created:
        yield None


def attempt_paid(o, wait=0):
    """The usual: an attempt that is paid, with its noise."""
    rng = o.rng
    yield from after_creation(o, wait + rng.randint(0, 3))
    gateway = o.gateway()
    amount = None if rng.random() < 0.8 else rng.randint(1, o.amount + 5)
    made = yield Begin(o.number, gateway, amount, rng.random() < 0.9)
    if made is None:
        return
    number = made.answer[0]
    o.attempts.append((number, gateway, amount or o.amount))
    for _ in range(rng.randint(0, 3)):
        yield None
    pay = o.amount if amount is None or rng.random() < 0.2 else amount
    if rng.random() < 0.1:
        pay += rng.randint(-10, 10)
    steps = [lambda: o.pay(gateway, number, max(pay, 1))]
    if rng.random() < 0.4:
        steps.append(lambda: ended(o, gateway, number))
    if rng.random() < 0.3:
        steps.append(lambda: o.message("authorised", gateway, o.name("a"),
                                       number))
    rng.shuffle(steps)
    if rng.random() < 0.25:
        steps = [step for step in steps[1:]] or steps
    for step in steps:
        yield step()
        yield None


def ended(o, gateway, number):
    """pay_failed or pay_closed of an attempt."""
    rng = o.rng
    event = rng.choice(("pay_failed", "pay_closed"))
    said = o.some_payment()
    txn_id = number
    if event == "pay_failed":
        txn_id = o.name("ch")
    elif said is not None and said.gateway == gateway and rng.random() < 0.1:
        txn_id = said.txn_id
    return o.message(event, gateway, txn_id, number)


def attempts_end(o, wait=0):
    """Attempts that fail or close, also after the order was cancelled."""
    for _ in range(wait + 3):
        yield None
    for number, gateway, _ in list(o.attempts):
        if o.rng.random() < 0.7:
            yield o.message("pay_closed", gateway, number, number)
        yield None
    if o.rng.random() < 0.5:
        yield o.message(o.rng.choice(("pay_closed", "pay_failed")),
                        o.gateway("able", "fussy"), o.name("c"), o.number)


def attempts_left(o, wait=0):
    """Attempts that nobody pays: they fail, close, or are paid with another
    amount; then the order is closed or cancelled around them."""
    rng = o.rng
    yield from after_creation(o, wait)
    begun = []
    for _ in range(rng.randint(1, 2)):
        gateway = o.gateway("able", "fussy")
        amount = rng.choice((None, max(o.amount // 2, 1)))
        made = yield Begin(o.number, gateway, amount, True)
        if made is not None:
            begun.append((made.answer[0], gateway, amount or o.amount))
    cancels = rng.random() < 0.6
    steps = []
    for number, gateway, amount in begun:
        ends = [
            o_message(o, "pay_closed", gateway, number, number),
            o_message(o, "pay_failed", gateway, o.name("ch"), number),
            o_message(o, "pay_failed", gateway, o.name("ch"), number),
            o_message(o, "pay", gateway, o.name("p", gateway), number,
                      rng.choice((amount, amount, max(amount - 1, 1))),
                      o.currency)]
        rng.shuffle(ends)
        steps += ends[:rng.randint(1, 4)]
    if cancels:
        yield Fire(o.number, "cancel")
    for step in steps:
        yield step()
        for _ in range(rng.randint(0, 2)):
            yield None
    yield o.message("pay_closed", o.gateway("able", "fussy"), o.name("c"),
                    o.number)


def corner(o, wait=0):
    """Short ways to lines that chance seldom meets."""
    rng = o.rng
    yield from after_creation(o, wait)
    way = rng.choice(("repriced", "closed by order", "ended twice",
                      "reversed first"))
    gateway = o.gateway("able")
    amount = max(o.amount // 2, 1) if way == "repriced" else None
    if way == "reversed first":
        txn_id = o.name("p")
        if o.serial:
            yield o.message("pay_reversed", gateway, txn_id)
            yield None
            yield o.message("pay", gateway, txn_id, o.number, o.amount,
                            o.currency)
        return
    made = yield Begin(o.number, gateway, amount, True)
    if made is None:
        return
    number = made.answer[0]
    if way == "repriced":
        yield o.pay(gateway, number, amount)
        return
    if way == "ended twice":
        yield o.message("pay_closed", gateway, number, number)
        yield o.message("pay_failed", gateway, o.name("ch"), number)
        return
    yield Fire(o.number, "cancel")
    yield o.pay(gateway, number, o.amount + 1)
    yield o.message("pay_closed", gateway, o.name("c"), o.number)


def o_message(o, *args, **more):
    return lambda: o.message(*args, **more)


def until(phase):
    """A story's wait for a later phase of the round."""
    def wait(o):
        while o.round.phase < phase:
            yield None
    return wait


def paid_later(o, wait=0):
    """After the order has expired, perhaps."""
    yield from until(2)(o)
    yield from paid_right(o, wait)
    yield from odd_payments(o)


def undone(o, wait=0):
    """Paid, refunded and reversed; then somebody pays again."""
    rng = o.rng
    yield from after_creation(o, wait + rng.randint(0, 2))
    gateway = o.gateway("able", "fussy")
    pay = yield o.pay(gateway, o.number, max(o.amount, 1))
    if pay is None:
        return
    txn_id = pay.message.txn_id
    steps = [o_message(o, "pay_reversed", gateway, txn_id)]
    if rng.random() < 0.7:
        steps.insert(rng.randint(0, 1), o_message(
            o, "refund", gateway, o.name("r"), None,
            rng.choice((max(o.amount, 1), max(o.amount // 2, 1))), None,
            payment_txn=txn_id))
    for step in steps:
        yield step()
        yield None
    yield o.pay(o.gateway(), o.number, max(o.amount, 1))


def odd_payments(o, wait=0):
    """Payments that name the order, or that are wrong in some way."""
    rng = o.rng
    for _ in range(rng.randint(1, 4)):
        for _ in range(wait + rng.randint(0, 4)):
            yield None
        gateway = o.gateway("able", "able", "fussy", "thrifty", "closed",
                            "strict")
        dice = rng.random()
        if dice < 0.35:
            yield o.pay(gateway, o.number, max(o.amount, 1))
        elif dice < 0.5:
            yield o.pay(gateway, o.number, rng.randint(1, o.amount + 100))
        elif dice < 0.58:
            yield o.pay(gateway, o.number, max(o.amount, 1),
                        rng.choice(("EUR", "JPY")))
        elif dice < 0.66:
            yield o.pay(gateway, o.number, rng.choice((0, -5, None)))
        elif dice < 0.7:
            yield o.pay(gateway, o.number, max(o.amount, 1), "ZZZ")
        elif dice < 0.74:
            yield o.message("pay", o.round.gateways["fussy"], o.name("ch"),
                            o.number, max(o.amount, 1), o.currency)
        elif dice < 0.84 and o.attempts:
            number, other, amount = rng.choice(o.attempts)
            yield o.pay(gateway, number, amount)
        elif dice < 0.9 and o.round.payments_before:
            # two numbers that name different orders
            _, said = rng.choice(o.round.payments_before)
            yield o.pay(said.gateway, o.number, max(o.amount, 1),
                        payment_txn=said.txn_id)
        elif dice < 0.95:
            yield o.pay(gateway, f"NOBODY{o.name('n')}", max(o.amount, 1))
        else:
            yield o.pay(gateway, o.number, rng.randint(1, o.amount + 1),
                        event="pay_part")


def paid_right(o, wait=0):
    for _ in range(wait + o.rng.randint(0, 2)):
        yield None
    yield o.pay(o.gateway(), o.number, max(o.amount, 1))


def parts_paid(o, wait=0):
    rng, left = o.rng, o.amount
    for _ in range(wait):
        yield None
    while left > 0 and rng.random() < 0.85:
        part = min(left, rng.randint(1, max(o.amount // 2, 1)))
        gateway = o.gateway("able", "fussy")
        reference = o.number
        if rng.random() < 0.4:
            made = yield Begin(o.number, gateway, rng.choice((None, part)),
                               True)
            if made:
                reference = made.answer[0]
                o.attempts.append((reference, gateway, part))
        said = yield o.pay(gateway, reference, part, event="pay_part")
        if said and said.answer[0] == "applied":
            left -= part
        if rng.random() < 0.2:
            yield o.pay(gateway, o.number, max(left, 1))
        yield None


def cancelled(o, wait=0):
    for _ in range(wait + o.rng.randint(0, 5)):
        yield None
    yield Fire(o.number, "cancel")


def shipped(o, wait=0):
    for event in ("ship", "complete", "refund_all", "contest"):
        for _ in range(wait + o.rng.randint(1, 6)):
            yield None
        if o.rng.random() < 0.6:
            yield Fire(o.number, event)


def refund_ours(o, wait=0):
    """Refunds that the shop asks for; workers do them (see worker)."""
    rng = o.rng
    for k in range(rng.randint(1, 4)):
        for _ in range(wait + rng.randint(0, 6)):
            yield None
        amount = rng.choice((None, rng.randint(1, max(o.amount, 1)),
                             max(o.amount // 4, 1)))
        said = o.some_payment()
        payment = None
        if said is not None and rng.random() < 0.5:
            payment = said.gateway, said.txn_id
        number = f"RF{o.round.number}x{o.i}x{k}".ljust(8, "_")
        made = yield RequestRefund(o.number, number, amount, payment)
        if made is None:
            continue
        amount = made.answer[0]
        o.refunds.append((number, payment, amount))
        if rng.random() < 0.1:
            yield RequestRefund(o.number, number, amount, payment)


def refund_said(o, wait=0):
    """What the gateway says about our refunds: twice, wrongly, failed, stuck,
    risen from the dead."""
    rng = o.rng
    for _ in range(rng.randint(2, 6)):
        for _ in range(wait + rng.randint(0, 5)):
            yield None
        if not o.refunds:
            continue
        number, payment, amount = rng.choice(o.refunds)
        if payment is None:
            said = o.some_payment()
            if said is None:
                continue
            gateway, txn_id = said.gateway, None
            if len({one.gateway for one in o.payments()}) > 1:
                continue        # open: our number said by another gateway
        else:
            gateway, txn_id = payment
        more = {"refund_no": number}
        if rng.random() < 0.5:
            more["payment_txn"] = txn_id
        dice = rng.random()
        identity = o.name("r")
        if dice < 0.4:
            yield o.message("refund", gateway, identity,
                            rng.choice((None, o.number)), amount,
                            rng.choice((None, o.currency)), **more)
        elif dice < 0.5:
            yield o.message("refund", gateway, identity, None,
                            max(amount + rng.randint(-3, 3), 1), None, **more)
        elif dice < 0.7:
            if rng.random() < 0.3:
                more["at"] = START - timedelta(days=1) + \
                    (o.round.time() - START)
            elif rng.random() < 0.3:
                more["at"] = o.round.later_time()
            yield o.message("refund_failed", gateway, identity, None,
                            rng.choice((None, amount)), None, **more)
        elif dice < 0.8:
            yield o.message("refund_stuck", gateway, identity, None,
                            amount, None, **more)
        elif dice < 0.88:
            more["payment_txn"] = txn_id
            yield o.message("refund", gateway, identity, None,
                            amount + rng.randint(0, 5), None,
                            amount_is_total=True, **more)
        elif dice < 0.95 and len(o.payments()) > 1:
            # our number under another payment
            others = [one for one in o.payments() if one.gateway == gateway]
            more["payment_txn"] = rng.choice(others).txn_id
            yield o.message("refund", gateway, identity, None, amount, None,
                            **more)


def refund_external(o, wait=0):
    """Refunds made in the gateway's console."""
    rng = o.rng
    for _ in range(rng.randint(1, 4)):
        for _ in range(wait + rng.randint(0, 6)):
            yield None
        said = o.some_payment()
        if said is None:
            continue
        amount = rng.choice((rng.randint(1, max(o.amount, 1)),
                             max(o.amount, 1), max(o.amount // 3, 1)))
        currency = rng.choice((None, said.currency, said.currency, "KWD"))
        identity = o.name("r")
        more = {}
        reference = rng.choice((None, None, o.number))
        dice = rng.random()
        if dice < 0.75:
            more["payment_txn"] = said.txn_id
        elif dice < 0.85:
            more["payment_txn"] = o.name("p", said.gateway)
        else:
            reference = o.number
        if rng.random() < 0.2:
            more["refund_no"] = f"XX{o.name('x')}".ljust(8, "_")
        if rng.random() < 0.05:
            reference = rng.choice(o.round.subjects).number
            if "payment_txn" not in more:
                reference = o.number
        got = yield o.message("refund", said.gateway, identity, reference,
                              amount, currency, **more)
        done = got is not None and got.answer[0] == "applied"
        if rng.random() < 0.3 and (done or o.serial):
            more.pop("refund_no", None)
            yield o.message(rng.choice(("refund_failed", "refund_stuck")),
                            said.gateway, identity, None, amount, None, **more)


def refund_failed_first(o, wait=0):
    """A refund's failure comes before anything else of it."""
    if not (o.serial or o.round.options.overlap):
        return
    for _ in range(wait):
        yield None
    said = o.some_payment()
    if said is None:
        return
    identity = o.name("r")
    yield o.message("refund_failed", said.gateway, identity, None, None, None,
                    payment_txn=said.txn_id,
                    at=o.rng.choice((None, o.round.later_time())))
    yield None
    yield o.message("refund", said.gateway, identity, None,
                    max(o.amount // 5, 1), None, payment_txn=said.txn_id)


def totals(o, wait=0):
    """Running totals of one payment, as Alipay says them."""
    rng, total = o.rng, 0
    for _ in range(wait):
        yield None
    said = o.some_payment()
    if said is None:
        return
    for k in range(rng.randint(1, 5)):
        total += rng.choice((0, 5, 10, -3))
        if total <= 0:
            total = 7
        identity = f"{said.txn_id}:{k}"
        got = yield o.message("refund", said.gateway, identity, None, total,
                              None, payment_txn=said.txn_id,
                              amount_is_total=True)
        if got and rng.random() < 0.4:
            yield Ingest(o.number, replace(got.message,
                                           occurred_at=o.round.time()))
        yield None


def reversed_(o, wait=0):
    rng = o.rng
    for _ in range(wait + rng.randint(0, 8)):
        yield None
    said = o.some_payment()
    if said is None:
        return
    if rng.random() < 0.5:
        yield o.message("pay_reversed", said.gateway, said.txn_id, o.number)
    else:
        yield o.message("pay_reversed", said.gateway, o.name("v"), None,
                        payment_txn=said.txn_id)
    for _ in range(rng.randint(0, 3)):
        yield None
    if rng.random() < 0.7:
        yield o.pay(o.gateway(), o.number, max(o.amount, 1))


def refund_settled(o, wait=0):
    """A person says how a refund ended; then the gateway says so."""
    rng = o.rng
    for _ in range(wait + 4):
        yield None
    if not o.refunds:
        return
    number, payment, amount = rng.choice(o.refunds)
    decision = rng.choice(("succeeded", "succeeded", "failed"))
    made = yield SettleRefund(o.number, number, decision)
    if made is None:
        return
    if decision == "failed":
        yield SettleRefund(o.number, number, "keep")
    elif payment is not None:
        yield o.message("refund", payment[0], o.name("r"), None, amount, None,
                        refund_no=number)


def disputed(o, wait=0):
    """Chargebacks; reversal and loss before and after."""
    rng = o.rng
    for _ in range(rng.randint(1, 3)):
        for _ in range(wait + rng.randint(0, 5)):
            yield None
        said = o.some_payment()
        if said is None:
            continue
        identity = o.name("d")
        amount = rng.choice((max(said.amount or 1, 1),
                             rng.randint(1, max(o.amount, 1) + 10)))
        named = {"payment_txn": said.txn_id}
        back = amount + (rng.random() < 0.15)
        mixed = rng.random() < 0.4
        always_named = mixed and not o.serial
        steps = [o_step(o, "chargeback", said.gateway, identity, amount,
                        "KWD" if rng.random() < 0.05 else None, **named)]
        if rng.random() < 0.6:
            steps.append(o_step(o, "chargeback_reversed", said.gateway,
                                identity, back, None,
                                **(named if rng.random() < 0.8 or
                                   always_named or o.round.paused else {})))
        if rng.random() < 0.4:
            steps.append(o_step(o, "chargeback_lost", said.gateway, identity,
                                None, None, **named))
        if mixed:
            rng.shuffle(steps)
        for step in steps:
            yield step()
            for _ in range(rng.randint(0, 2)):
                yield None


def o_step(o, event, gateway, identity, amount, currency, **more):
    return lambda: o.message(event, gateway, identity, None, amount, currency,
                             **more)


def people(o, wait=0):
    """Decisions by people, at any time; most are refused."""
    rng = o.rng
    for _ in range(rng.randint(2, 6)):
        for _ in range(wait + rng.randint(0, 8)):
            yield None
        dice = rng.random()
        if dice < 0.6:
            said = rng.choice(o.sent) if o.sent else None
            if said is None:
                continue
            if rng.random() < 0.5 and o.payments():
                said = o.some_payment() or said
            yield SettleCallback(
                o.number, said.key,
                rng.choice(("keep", "keep", "return", "attach", "dismiss")),
                o.number if rng.random() < 0.4 else None)
        elif dice < 0.8 and o.round.held.get(o.number):
            number = rng.choice(o.round.held[o.number])
            yield SettleRefund(o.number, number,
                               rng.choice(("release", "cancel")))
        elif o.refunds:
            yield SettleRefund(
                o.number, rng.choice(o.refunds)[0],
                rng.choice(("succeeded", "failed", "keep")))


def again(o):
    """One of the earlier messages again: the same, with less, with other
    facts."""
    rng = o.rng
    if not o.sent:
        return None
    said = rng.choice(o.sent)
    o.said += 1
    if said.gateway in o.round.paused and said.event not in ADDRESSED and \
            said.reference is None:
        return None             # open: as above
    dice = rng.random()
    changed = {}
    if dice < 0.08 and said.amount is not None:
        changed["amount"] = said.amount + rng.choice((1, -1, 10))
    elif dice < 0.11 and said.currency is not None:
        changed["currency"] = "JPY"
    elif dice < 0.14 and said.reference is not None:
        changed["reference"] = rng.choice(o.round.subjects).number
    elif dice < 0.17:
        changed["reference"] = None
    elif dice < 0.2 and said.amount is not None:
        changed["amount"] = None if not o.round.paused else said.amount
    elif dice < 0.24 and said.amount is None and \
            said.event not in ("pay", "pay_part"):
        changed["amount"] = 5
    elif dice < 0.27 and said.reference is None and \
            said.event not in ("pay", "pay_part"):
        changed["reference"] = o.number
    elif dice < 0.29 and not o.round.paused and said.amount and \
            said.txn_id not in o.flipped:
        changed["amount"] = rng.choice((0, -1))
        o.spoiled.add(said.txn_id)
    elif dice < 0.31 and said.amount is not None and said.amount <= 0:
        changed["amount"] = max(o.amount, 1)
    elif dice < 0.33 and said.event == "pay" and \
            said.txn_id not in o.spoiled:
        changed["event"] = "pay_part"
        o.flipped.add(said.txn_id)
    if said.event == "refund" and said.amount_is_total and \
            "amount" not in changed and rng.random() < 0.02:
        changed["amount"] = said.amount
    return Ingest(o.number, replace(said, occurred_at=o.round.time(),
                                    **changed))


def chatter(o, wait=0):
    """Messages again, and now and then another story, until the order has had
    its share; of some orders for ever."""
    rng = o.rng
    most = o.round.share * rng.choice((0.5, 1, 1, 1.5, 1000))
    for _ in range(wait):
        yield None
    for _ in range(rng.randint(0, 6)):
        yield again(o)
    while o.said < most:
        if rng.random() < 0.15:
            story = rng.choice((odd_payments, refund_ours, refund_said,
                                refund_external, disputed, people, people,
                                refund_failed_first, attempts_end,
                                refund_settled, undone))
            yield from story(o)
        yield again(o)
        yield None


# ---- which stories an order has ----

KINDS = {
    # kind: (share, stories with how long they wait)
    "plain": (20, [(created, 0), (attempt_paid, 1), (attempt_paid, 1),
                   (refund_ours, 4), (refund_said, 6), (refund_settled, 8),
                   (people, 9)]),
    "mess": (24, [(created, 1), (attempt_paid, 2), (odd_payments, 1),
                  (paid_right, 3), (refund_ours, 3), (refund_said, 4),
                  (refund_external, 3), (disputed, 5), (reversed_, 8),
                  (people, 4), (cancelled, 6), (shipped, 4)]),
    "late": (14, [(created, 0), (attempt_paid, 1), (cancelled, 0),
                  (odd_payments, 2), (paid_right, 6), (attempts_end, 3),
                  (people, 4), (refund_external, 5)]),
    "brief": (4, [(created, 0), (cancelled, 0), (odd_payments, 2),
                  (paid_right, 4), (people, 4)]),
    "closing": (10, [(created, 0), (attempt_paid, 1), (attempt_paid, 1),
                     (cancelled, 3), (attempts_end, 4), (odd_payments, 3)]),
    "unknown": (10, [(created, 8), (odd_payments, 0), (paid_right, 0),
                     (refund_external, 1), (attempt_paid, 8), (disputed, 1),
                     (people, 6), (reversed_, 2)]),
    "parts": (8, [(created, 0), (parts_paid, 1), (parts_paid, 2),
                  (attempt_paid, 2), (refund_external, 4), (cancelled, 12),
                  (disputed, 6), (reversed_, 6), (shipped, 4)]),
    "totals": (6, [(created, 0), (paid_right, 1), (totals, 4), (totals, 6),
                   (refund_ours, 5), (refund_said, 7)]),
    "backward": (6, [(created, 0), (paid_right, 1), (reversed_, 3),
                     (refund_ours, 3), (refund_failed_first, 3),
                     (reversed_, 5), (paid_right, 12), (refund_said, 6),
                     (refund_external, 5), (disputed, 4)]),
    "tries": (10, [(created, 0), (attempts_left, 1), (attempts_left, 6),
                   (paid_later, 0)]),
    "expired": (5, [(created, 0), (paid_later, 2), (refund_ours, 12),
                    (people, 8)]),
    "undone": (5, [(created, 0), (undone, 1), (refund_ours, 3),
                   (refund_said, 5), (people, 6), (undone, 10)]),
    "corner": (8, [(created, 0), (corner, 1), (paid_later, 2)]),
    "zero": (1, [(created, 0), (odd_payments, 4)]),
}


def draw_kind(rng):
    return rng.choices(list(KINDS), [KINDS[kind][0] for kind in KINDS])[0]


def stories(subject):
    return [story(subject, wait) for story, wait
            in KINDS[subject.kind][1] + [(chatter, 3)]]
