"""The lines of VERDICTS.md, one function each, its number in a comment.

A line is given the case (the stored row, the address that line 9 found, the
order) and returns a Verdict if it holds, after its effects, or None; the lists
at the end are read from the top.  Part of model.py.
"""

import re
from dataclasses import dataclass

from model_things import ADDRESSED, MONEY_EVENTS, PAYING, Refund

ANY = "(any)"       # a detail that the law does not name


@dataclass
class Verdict:
    line: str
    verdict: str
    detail: str | None = ANY

    @property
    def waiting(self):
        return self.verdict in ("parked", "deferred")


@dataclass
class Case:
    """One message under decision."""

    world: object
    row: object
    conflict: bool = False
    order: object = None
    payment: object = None
    attempt: object = None
    refund: object = None
    single: int = None

    @property
    def message(self):
        return self.row.message

    @property
    def amount(self):
        """Of a running total the single amount that it came to."""
        return self.message.amount if self.single is None else self.single

    def __getattr__(self, name):        # case.event, case.txn_id, ...
        return getattr(self.row.message, name)


# ---- A: the message alone ----

def invalid(world, message):
    # 5
    if message.event in MONEY_EVENTS and \
            (message.amount is None or message.amount <= 0):
        return True
    if message.currency is not None and \
            message.currency not in world.currencies:
        return True
    if message.event not in PAYING:
        return False
    pattern = world.gateways[message.gateway].pay_id_pattern
    return message.currency is None or bool(
        pattern and not re.search(pattern, message.txn_id))


def usable(world, message):
    return message.amount is not None and message.amount > 0 and \
        message.currency in world.currencies


# ---- B: the key ----

def facts_differ(world, row, message):
    stored = row.message
    for name in ("payment_txn", "refund_no", "currency"):
        old, new = getattr(stored, name), getattr(message, name)
        if old is not None and new is not None and old != new:
            return True
    return amounts_differ(world, row, message) or \
        orders_differ(world, row, message)


def amounts_differ(world, row, message):
    stored = row.message
    if stored.amount is None or message.amount is None:
        return False
    if stored.amount_is_total == message.amount_is_total:
        return stored.amount != message.amount
    if stored.amount_is_total:
        return row.single is not None and row.single != message.amount
    refund = world.refund(message.refund_no or stored.refund_no)
    return refund is not None and refund.amount != stored.amount


def orders_differ(world, row, message):
    stored = row.message
    if message.reference == stored.reference:
        return False
    old = named_order(world, stored, row)
    new = named_order(world, message, row)
    return old is not None and new is not None and old != new


def named_order(world, message, row):
    """The number of the order that a message names, after resolution; the raw
    reference while it resolves to nothing."""
    if message.event not in ADDRESSED:
        payment = named_payment(world, message)
        if payment is not None and payment.order is not None:
            return payment.order.number
        refund = world.refund(message.refund_no)
        if refund is not None and refund.payment.order is not None:
            return refund.payment.order.number
    if message.reference is None:
        return row.order.number if row.order and message is row.message \
            else None
    order, _ = world.look_up(message.reference)
    if order is None and message is row.message:
        order = row.order       # which a person has named
    return order.number if order else "unresolved:" + message.reference


def named_payment(world, message):
    gateway = message.gateway
    if message.payment_txn is not None:
        return world.payments.get((gateway, message.payment_txn))
    if message.event in ("refund", "refund_failed", "refund_stuck"):
        refund = world.known_refund(message)
        return refund.payment if refund else None
    own = world.payments.get((gateway, message.txn_id))
    if own is None and message.event in ("chargeback_reversed",
                                         "chargeback_lost"):
        dispute = world.callbacks.get((gateway, message.txn_id, "chargeback"))
        if dispute is not None:
            return dispute.payment or named_payment(world, dispute.message)
    return own


# ---- C: the address ----

def find(world, row):
    # 9, the resolution
    message = row.message
    case = Case(world, row)
    order, case.attempt = world.look_up(message.reference)
    order = order or row.attached
    if message.event not in ADDRESSED:
        case.payment = named_payment(world, message)
        case.refund = world.known_refund(message)
        case.order = case.payment.order if case.payment else None
        if case.order is None and case.refund is not None:
            case.order = case.refund.payment.order
        case.order = case.order or order
        return case
    case.payment = world.payments.get((message.gateway, message.txn_id))
    named = [payment.order for payment in
             (world.payments.get((message.gateway, message.payment_txn)),
              case.payment) if payment is not None]
    refund = world.refund(message.refund_no)
    if refund is not None:
        named.append(refund.payment.order)
    named = [one for one in named + [order] if one is not None]
    case.conflict = len(set(named)) > 1 or (
        case.attempt is not None and case.attempt.gateway != message.gateway)
    case.order = named[0] if named and not case.conflict else None
    return case


def line_9(case):
    # 9: two numbers name different orders, or another gateway's attempt
    if case.conflict:
        if case.event in PAYING:
            case.world.write_payment(case, None)
        return Verdict("9", "conflict", "order")


def line_10(case):
    # 10
    if case.world.gateways[case.gateway].paused:
        case.world.write_payment(case, case.order)
        return Verdict("10", "deferred", "paused")


def line_11_order(case):
    # 11: no order
    if case.event in ADDRESSED and case.order is None:
        case.world.write_payment(case, None)
        return Verdict("11", "parked", "order")


def line_11_attempt(case):
    """11: no attempt, where one is required (choice: after 12, since attempts
    begin under the order's lock)."""
    if case.event in ADDRESSED and case.attempt is None and \
            case.world.gateways[case.gateway].require_attempt and \
            not case.row.attached:
        case.world.write_payment(case, case.order)
        return Verdict("11", "parked", "order")


# ---- D: pay, pay_part ----

def equal(case):
    """All equal, as 15 to 17 test."""
    return not (other_currency(case) or other_amount(case) or repriced(case))


def part(case):
    """Whether this is a part, where the machine takes parts."""
    return case.event == "pay_part" and case.order.has_edge("pay_part")


def other_currency(case):
    return case.payment.currency != case.order.currency


def other_amount(case):
    amount, left = case.payment.amount, case.order.left
    if part(case):
        return amount > left or (case.attempt is not None and
                                 amount > case.attempt.amount)
    return amount != (case.attempt.amount if case.attempt else left)


def repriced(case):
    return not part(case) and case.attempt is not None and \
        case.attempt.amount != case.order.left


def keep(case):
    """What is left of it in review becomes the order's."""
    case.payment.disposition = "order"
    case.payment.move("review", "kept", case.payment.pot("review"))


def give_back(case, cause):
    """What is left of it in review is owed, and returned automatically."""
    payment = case.payment
    payment.disposition = "surplus"
    payment.move("review", "owed", payment.pot("review"))
    if payment.pot("owed") > payment.held():
        case.world.automatic_return(payment, cause)


def line_reversed(case):
    if case.payment.reversed:
        return Verdict("13-19 reversed", "stale", "reversed")


def line_13(case):
    # 13
    if case.order.paid:
        give_back(case, "excess")
        return Verdict("13", "excess")


def line_13b(case):
    # 13b
    order = case.order
    if not order.frozen or not equal(case):
        return None
    if order.is_refunded:
        give_back(case, "late")
        return Verdict("13b late", "late", "returned")
    keep(case)
    order.frozen = False
    return Verdict("13b", "applied", "restored")


def line_14a(case):
    # 14a
    order = case.order
    if order.open or order.frozen or not equal(case) or \
            order.refunding_amount + order.refunded_amount > 0:     # choice
        return None
    edge = case.world.edge_taken(order, "reopen")
    if edge is not None:
        keep(case)
        order.go(edge["target"])
        return Verdict("14a", "late", "reopened")


def line_14b(case):
    # 14b
    if not case.order.open and not case.order.frozen:
        give_back(case, "late")
        return Verdict("14b", "late", "returned")


def line_15(case):
    # 15
    if other_currency(case):
        return Verdict("15", "mismatch", "currency")


def line_16(case):
    # 16
    if other_amount(case):
        return Verdict("16", "mismatch", "amount")


def line_17(case):
    # 17
    if repriced(case):
        return Verdict("17", "mismatch", "repriced")


def line_18(case):
    # 18
    order = case.order
    whole = not part(case) or case.payment.amount == order.left
    event = "pay" if whole else "pay_part"
    keep(case)
    order.go(case.world.edge_taken(order, event)["target"])
    return Verdict("18" if whole else "18 part", "applied", ANY)


# ---- E: pay_failed, pay_closed, authorised, pay_reversed ----

def line_21(case):
    # 21: this txn, or attempt, has a payment
    if case.event == "authorised":
        return None
    world, attempt = case.world, case.attempt
    named = world.payments.get((case.gateway, case.payment_txn))
    if case.payment or named or (attempt is not None and (
            attempt.state == "paid" or world.paid_through(attempt))):
        return Verdict("21", "stale")


def line_22(case):
    # 22
    if case.event != "authorised" and case.attempt is not None and \
            case.attempt.state in ("failed", "closed"):
        return Verdict("22", "stale")


def line_23(case):
    # 23, 24
    attempt, order = case.attempt, case.order
    if case.event == "authorised" or attempt is None:
        return None
    if case.event == "pay_failed" and \
            not case.world.gateways[case.gateway].failed_is_final:
        return Verdict("23 noted", "applied", "noted")
    attempt.state = case.event[len("pay_"):]
    if order.closing and case.world.no_open_attempt(order, case.row):
        confirm_close(case)
        return Verdict("24", "applied")
    return Verdict("23", "applied", "attempt")


def line_25(case):
    # 25
    if case.event == "authorised":
        return None
    if case.event == "pay_closed" and case.order.closing and \
            case.world.no_open_attempt(case.order, case.row):
        confirm_close(case)
        return Verdict("25", "applied")
    return Verdict("25 stale", "stale")


def line_25a(case):
    # 25a
    if case.attempt is not None and case.attempt.state == "open":
        return Verdict("25a", "applied", "noted")
    return Verdict("25a stale", "stale")


def confirm_close(case):
    edge = case.world.edge_taken(case.order, "close_confirmed")
    case.order.go(edge["target"])


def line_26(case):
    # 26
    payment = case.payment
    if payment is None:
        return Verdict("26 parked", "parked", "payment")
    payment.reversed = True
    payment.cancel_all()
    for pot in ("kept", "owed", "review"):
        payment.move(pot, "undone", payment.pot(pot))
    payment.freeze()
    return Verdict("26", "applied", "reversed")


# ---- F: refund ----

def line_27(case):
    # 27
    if case.payment is not None:
        return None
    if case.payment_txn is None and case.order is not None:
        there = [payment for payment in case.order.payments
                 if payment.gateway == case.gateway]
        if len(there) > 1:
            return Verdict("27 unnamed", "mismatch", "unnamed")
        if there:
            case.payment = there[0]
            return None
    return Verdict("27", "parked", "payment")


def line_28(case):
    # 28, 41b
    if case.currency is not None and case.currency != case.payment.currency:
        line = "28" if case.event == "refund" else "41b"
        return Verdict(line, "mismatch", "currency")


def line_29(case):
    # 29
    if not case.amount_is_total:
        return None
    payment = case.payment
    if case.refund is not None:
        case.single = case.refund.amount
        return None
    if any(refund.open for refund in payment.refunds):
        return Verdict("29 parked", "parked", "total")
    case.single = case.message.amount - payment.pot("returned")
    if case.single == 0:
        return Verdict("29 zero", "stale")
    if case.single < 0:
        return Verdict("29 less", "stale")


def line_30(case):
    # 30
    if case.refund is not None and case.refund.payment is not case.payment:
        return Verdict("30", "conflict", "payment")


def line_31(case):
    # 31
    refund, payment = case.refund, case.payment
    if not live(refund) or refund.amount != case.amount:
        return None
    source = "owed" if refund.state == "held" else "returning"
    payment.move(source, "returned", refund.amount)
    succeed(case, refund)
    return Verdict("31", "applied")


def line_32(case):
    # 32
    if live(case.refund):
        case.refund.under_review = True
        return Verdict("32", "mismatch", "amount")


def line_33(case):
    # 33
    refund = case.refund
    if refund is None or refund.state != "succeeded":
        return None
    if refund.gateway_id is None:
        refund.gateway_id = case.txn_id
        return Verdict("33 filled", "duplicate")
    external(case)
    return Verdict("33", "conflict", "twice")


def line_34(case):
    # 34
    refund = case.refund
    if refund is None:
        return None
    refund.amount, refund.kept_again = case.amount, 0
    take_external(case.payment, case.amount)
    succeed(case, refund)
    return Verdict("34", "applied", "resurrected")


def line_35(case):
    # 35
    external(case)
    return Verdict("35", "applied", "external")


def live(refund):
    return refund is not None and (refund.open or refund.state == "held")


def succeed(case, refund):
    refund.state = "succeeded"
    refund.gateway_id = case.txn_id
    refund.succeeded_at = case.occurred_at


def external(case):
    payment = case.payment
    take_external(payment, case.amount)
    refund = Refund(case.world.kernel_number(payment, "external"), payment,
                    case.amount, "external", "succeeded")
    succeed(case, refund)
    case.world.add_refund(refund)


def take_external(payment, amount):
    """35: unclaimed refunds are cancelled, newest first, until it fits."""
    def fits():
        free = payment.pot("owed") - payment.held()
        return amount <= free + payment.pot("review") + payment.pot("kept")

    for refund in reversed(payment.refunds):
        if fits():
            break
        if refund.unclaimed:
            payment.cancel(refund)
    payment.take(amount, ("owed", "review", "kept"), "returned")


# ---- G: refund_failed, refund_stuck ----

def line_36(case):
    # 36
    if case.refund is None:
        return Verdict("36", "parked", "refund")


def line_37(case):
    # 37
    refund = case.refund
    if refund.state in ("held", "failed", "reversed", "cancelled") or (
            refund.state == "succeeded" and case.occurred_at is not None and
            refund.succeeded_at is not None and
            case.occurred_at < refund.succeeded_at):
        return Verdict("37", "stale")


def line_38(case):
    # 38
    refund = case.refund
    if case.event == "refund_failed" and refund.state == "succeeded":
        refund.state = "reversed"
        refund.payment.come_back("returned", refund.amount,
                                 [("owed", refund.amount)])
        return Verdict("38", "applied", "reversal")


def line_39(case):
    # 39
    refund = case.refund
    if case.event == "refund_failed":
        refund.state = "failed"
        refund.payment.come_back("returning", refund.amount,
                                 [("owed", refund.amount)])
        return Verdict("39", "applied")


def line_40(case):
    # 40
    if case.refund.open:
        case.refund.state = "stuck"
        case.refund.under_review = True
        return Verdict("40", "applied", "stuck")
    return Verdict("40 stale", "stale")


# ---- H: chargebacks ----

def line_41(case):
    # 41
    if case.payment is None:
        return Verdict("41", "parked", "payment")


def line_42(case):
    # 42
    if case.event != "chargeback":
        return None
    payment, order = case.payment, case.payment.order
    payment.cancel_all()
    payment.take(case.amount, ("kept", "owed", "review"), "disputed")
    case.row.dispute_left = case.amount
    edge = order and case.world.edge_taken(order, "dispute")
    if edge:
        order.go(edge["target"])
    return Verdict("42", "applied")


def line_43_44_before(case):
    # 43, 44: before its chargeback
    dispute = case.world.dispute(case)
    if dispute is None or dispute.waiting or dispute.verdict is None or \
            dispute.invalid:
        line = "43" if case.event == "chargeback_reversed" else "44"
        return Verdict(line + " parked", "parked", "dispute")


def line_43(case):
    # 43
    if case.event != "chargeback_reversed":
        return None
    dispute, payment = case.world.dispute(case), case.payment
    if case.amount > dispute.dispute_left:
        return Verdict("43 more", "mismatch", "amount")
    dispute.dispute_left = 0
    target = {"order": "kept", "surplus": "owed"}.get(payment.disposition,
                                                      "review")
    if target == "kept" and payment.order.is_refunded:
        target = "owed"
    payment.come_back("disputed", case.amount, [(target, case.amount)])
    return Verdict("43", "applied")


def line_44(case):
    # 44
    case.world.dispute(case).lost = True
    return Verdict("44", "applied")


# ---- the lists, in the law's order ----

PAY = (line_reversed, line_13, line_13b, line_14a, line_14b, line_15, line_16,
       line_17, line_18)
ATTEMPT = (line_21, line_22, line_23, line_25, line_25a)
REVERSAL = (line_26,)
REFUND = (line_27, line_28, line_29, line_30, line_31, line_32, line_33,
          line_34, line_35)
REFUND_END = (line_36, line_37, line_38, line_39, line_40)
DISPUTE = (line_41, line_28, line_42, line_43_44_before, line_43, line_44)

LISTS = {"pay": PAY, "pay_part": PAY,
         "pay_failed": ATTEMPT, "pay_closed": ATTEMPT, "authorised": ATTEMPT,
         "pay_reversed": REVERSAL, "refund": REFUND,
         "refund_failed": REFUND_END, "refund_stuck": REFUND_END,
         "chargeback": DISPUTE, "chargeback_reversed": DISPUTE,
         "chargeback_lost": DISPUTE}


def decide(case, lines):
    """The first line that holds."""
    for line in lines:
        verdict = line(case)
        if verdict is not None:
            return verdict
    raise AssertionError(f"no line holds for {case.message}")
