"""An independent model of what payorder decides, in pure Python.

It is given calls in the order in which they took effect (messages, orders,
attempts, refunds asked for, tasks claimed and answered, people's decisions,
sweeps) and says for each what must come out, and in the end where all money
is.  It reads nothing from the database but the identifiers that the database
makes: payment numbers, and the numbers of refunds that the kernel makes, which
it knows as (gateway, txn_id, cause, how many before).

The law is VERDICTS.md: model_lines.py has its lines, model_things.py the pots
and machines, this file the calls and the draining.  Written from the text
alone; where the text is silent, the choice is marked "choice".
"""

import heapq
from collections import Counter
from dataclasses import dataclass

import model_lines as lines
from model_lines import Verdict
from model_things import (AUTOMATIC, PAYING, Attempt, Callback, FACTS, Gateway,
                          Machine, Message, Order, Payment, Refund, Trouble,
                          minutes)

MONEY_EDGES = ("pay", "pay_part", "reopen", "close_confirmed", "refunded")
LEASE = 10              # minutes
CURRENCIES = ("CNY", "USD", "EUR", "JPY", "KWD")


class Refused(Exception):
    """The law refuses this call."""


@dataclass
class Answer:
    verdict: str
    detail: str
    first_verdict: str | None
    order_no: str | None
    line: str


class Model:
    def __init__(self, machines, gateways, currencies=CURRENCIES):
        """machines: {name: definition}; gateways: [Gateway]"""
        self.machines = {name: Machine(name, definition)
                         for name, definition in machines.items()}
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self.gateways["none"] = Gateway("none")
        self.currencies = currencies
        self.orders = {}
        self.attempts = {}
        self.payments = {}          # (gateway, txn_id)
        self.refunds = {}           # identity
        self.by_gateway_id = {}     # (gateway, id): refund
        self.kernel_numbers = {}    # number that the kernel made: identity
        self.callbacks = {}         # key
        self.conflicts = Counter()  # key: messages kept as conflicting
        self.waiting = {}           # name: rows that wait under it
        self.deferred = {}          # row: None, as an ordered set
        self.leases = set()
        self.replaced = {}          # key: when 5b took place
        self.arrivals = 0
        self.now = 0                # when the call ended
        self.idle_claims = 0        # tasks of refunds that had ended
        self.lines = Counter()

    # ---- looking things up ----

    def look_up(self, reference):
        """(order, attempt) of an order_no or a payment_no."""
        attempt = self.attempts.get(reference)
        if attempt is not None:
            return attempt.order, attempt
        return self.orders.get(reference), None

    def refund(self, number):
        identity = self.kernel_numbers.get(number, number)
        return self.refunds.get(identity) or self.by_gateway_id.get(identity)

    def known_refund(self, message):
        """A refund by our number; one that ended or got stuck also by the
        gateway's own id (choice)."""
        if message.refund_no is not None:
            refund = self.refund(message.refund_no)
            if refund is not None:
                return refund
        if message.event in ("refund_failed", "refund_stuck"):
            return self.by_gateway_id.get((message.gateway, message.txn_id))
        return None

    def paid_through(self, attempt):
        return any(payment.attempt is attempt
                   for payment in attempt.order.payments)

    def dispute(self, case):
        return self.callbacks.get((case.gateway, case.txn_id, "chargeback"))

    # ---- guards and edges ----

    def waiting_of(self, order):
        rows = {row for name in self.order_names(order)
                for row in self.waiting.get(name, ())}
        return [row for row in rows
                if lines.find(self, row).order is order]

    def no_open_attempt(self, order, but=None):
        return not order.open_attempts and not any(
            row.message.event in PAYING and row is not but
            for row in self.waiting_of(order))

    def money_quiet(self, order):
        return not order.frozen and not order.disputed_amount and not any(
            refund.open for payment in order.payments
            for refund in payment.refunds) and not self.waiting_of(order)

    def guard_holds(self, order, guard):
        return {None: lambda: True,
                "no_open_attempt": lambda: self.no_open_attempt(order),
                "open_attempt": lambda: bool(order.open_attempts),
                "money_quiet": lambda: self.money_quiet(order),
                "stock_available": lambda: True,
                }[guard]()

    def edge_taken(self, order, event):
        """The first candidate whose guard and `within` hold.  The driver
        waits longer than limits below a second and shorter than others."""
        for edge in order.machine.edges(order.state, event):
            if minutes(edge.get("within", "1d")) >= 1 and \
                    self.guard_holds(order, edge.get("guard")):
                return edge
        return None

    # ---- what happens to money ----

    def write_payment(self, case, order):
        """Every authenticated pay writes one row of payments."""
        message = case.message
        if message.event not in PAYING:
            return None
        key = message.gateway, message.txn_id
        payment = self.payments.get(key)
        if payment is None:
            payment = Payment(*key, message.event, message.amount,
                              message.currency)
            self.payments[key] = payment
        if order is not None and payment.order is None:
            payment.order = order
            order.payments.append(payment)
        if order is not None and case.attempt is not None:
            payment.attempt = case.attempt
        case.payment = payment
        return payment

    def kernel_number(self, payment, cause):
        before = sum(1 for refund in payment.refunds
                     if isinstance(refund.identity, tuple) and
                     refund.identity[2] == cause)
        return payment.gateway, payment.txn_id, cause, before

    def add_refund(self, refund):
        self.refunds[refund.identity] = refund
        refund.payment.refunds.append(refund)
        if refund.gateway_id is not None:
            self.note_gateway_id(refund)

    def note_gateway_id(self, refund):
        self.by_gateway_id[refund.payment.gateway, refund.gateway_id] = refund

    def automatic_return(self, payment, cause):
        """Of all that is owed and has no refund (choice)."""
        amount = payment.pot("owed") - payment.held()
        for refund in payment.refunds:
            assert refund.cause not in AUTOMATIC or \
                refund.state in ("failed", "cancelled"), payment
        self.add_refund(Refund(self.kernel_number(payment, cause), payment,
                               amount, cause, "held", {"owed": amount}))

    def nothing_left(self, order):
        """(nothing is left of all that came for the order, something of what
        was paid was returned); the second over payments of disposition order
        (choice)."""
        left = sum(payment.pot(pot) for payment in order.payments for pot in
                   ("kept", "review", "owed", "returning", "disputed"))
        return left == 0, order.refunded_amount > 0

    def after_money(self, order, kept_before):
        """After every line and decision that moves money of a payment."""
        if order is None:
            return
        if order.refund_all_waits and any(
                payment.pot("kept") > 0 and not payment.stuck()
                for payment in order.payments):
            order.refund_all_waits, order.refund_all_due = False, True
        if order.kept > kept_before and \
                order.machine.refunds_all(order.state):
            order.refund_all_due = True
        if all(self.nothing_left(order)):
            edge = self.edge_taken(order, "refunded")
            if edge is not None:
                order.go(edge["target"])

    # ---- waiting ----

    def order_names(self, order):
        return [("reference", order.number)] + \
            [("reference", one.payment_no) for one in order.attempts] + \
            [("payment", one.gateway, one.txn_id) for one in order.payments]

    def row_names(self, row):
        """Under what a waiting row is found when that comes."""
        message = row.message
        names = [("payment", message.gateway, message.txn_id),
                 ("gateway id", message.gateway, message.txn_id)]
        if message.reference is not None:
            names.append(("reference", message.reference))
        if message.payment_txn is not None:
            names.append(("payment", message.gateway, message.payment_txn))
        if message.refund_no is not None:
            names.append(("refund", message.refund_no))
        return names

    def list_row(self, row):
        for name in self.row_names(row):
            rows = self.waiting.setdefault(name, {})
            if row.waiting:
                rows[row] = None
            else:
                rows.pop(row, None)
            if not rows:
                del self.waiting[name]
        if row.verdict == "deferred":
            self.deferred[row] = None
        else:
            self.deferred.pop(row, None)

    def parked_under(self, names):
        return [row for name in names for row in self.waiting.get(name, ())
                if row.verdict == "parked"]

    def names_touched(self, payment, order, message=None):
        names = []
        if message is not None:
            names += [("gateway id", message.gateway, message.txn_id)]
        if payment is not None:
            names.append(("payment", payment.gateway, payment.txn_id))
            for refund in payment.refunds:
                if isinstance(refund.identity, str):
                    names.append(("refund", refund.identity))
                if refund.gateway_id is not None:
                    names.append(("gateway id", payment.gateway,
                                  refund.gateway_id))
        if order is not None:
            names += self.order_names(order)
        return names

    def drain(self, rows):
        """Decides rows again, in the drain order, and what that wakes."""
        heap, inside, count = [], set(), 0
        stuck = set()

        def push(more):
            nonlocal count
            for row in more:
                if row not in inside and row not in stuck:
                    count += 1
                    inside.add(row)
                    heapq.heappush(heap, (row.drain_key, count, row))

        push(rows)
        while heap:
            _, _, row = heapq.heappop(heap)
            inside.discard(row)
            if not row.waiting:
                continue
            before = row.verdict, row.detail
            case = self.decide(row, draining=True)
            if row.waiting and (row.verdict, row.detail) == before:
                continue
            if row.verdict == "deferred":
                stuck.add(row)
            if row.makes_known:
                push(self.parked_under(self.names_touched(
                    case.payment, case.order, row.message)))

    def wake(self, payment, order, message=None):
        self.drain(self.parked_under(
            self.names_touched(payment, order, message)))

    def deferred_of(self, order, but=None):
        """What line 12 must apply first."""
        return [row for row in self.deferred
                if row is not but and not row.set_aside and
                not self.gateways[row.message.gateway].paused and
                lines.find(self, row).order is order]

    # ---- deciding ----

    def decide(self, row, draining=False, locked=False):
        """9 and all below, for a stored row; returns the case.  locked: the
        order's lock could not be had, which only the database can know."""
        case = lines.find(self, row)
        verdict = lines.line_9(case) or lines.line_10(case) or \
            lines.line_11_order(case)
        if verdict is None and locked:
            self.write_payment(case, case.order)
            verdict = Verdict("12 locked", "deferred", "locked")
        if verdict is None and not draining and case.order is not None:
            older = self.deferred_of(case.order, row)
            if older:
                was = row.waiting
                self.drain(older)
                case = lines.find(self, row)
                if was and not row.waiting:
                    return case     # woken by one of them
                if any(one.verdict == "deferred" for one in older):
                    self.write_payment(case, case.order)
                    verdict = Verdict("12 behind", "deferred", "behind")
        if verdict is None:
            verdict = self.decide_under_lock(case)
        row.line, row.verdict, row.detail = \
            verdict.line, verdict.verdict, verdict.detail
        row.order = case.order
        row.payment = case.payment
        row.single = case.single
        row.decided = self.now
        self.lines[verdict.line] += 1
        self.list_row(row)
        return case

    def decide_under_lock(self, case):
        verdict = lines.line_11_attempt(case)
        if verdict is not None:
            return verdict
        self.write_payment(case, case.order)
        order = case.order
        if case.payment is not None:
            order = case.payment.order      # whose money moves
        saved = order.snapshot() if order and order.trouble else None
        try:
            kept = order.kept if order else 0
            if case.event in PAYING and case.attempt is not None:
                case.attempt.state = "paid"
            verdict = lines.decide(case, lines.LISTS[case.event])
            if case.refund is not None and case.refund.gateway_id is not None:
                self.note_gateway_id(case.refund)
            self.after_money(order, kept)
            return verdict
        except Trouble:
            order.restore(saved)
            return Verdict("20", "deferred", "error")       # 20

    # ---- ingest ----

    def ingest(self, message, locked=False):
        row = self.callbacks.get(message.key)
        bad = lines.invalid(self, message)
        if row is None:
            verdict = self.other_event(message)
            if verdict is None or bad:
                return self.first_sight(message, bad, locked)
            return self.answer(verdict, None)
        if row.invalid and not bad:                             # 5b
            self.lines["5b"] += 1
            self.replaced[message.key] = self.now
            self.conflicts[message.key] += 1
            verdict = self.other_event(message)
            if verdict is not None:     # the row has the facts and the verdict
                row.message, row.invalid = Message(**vars(message)), False
                row.line, row.verdict, row.detail = "8", "conflict", "fact"
                return self.answer(verdict, None)
            return self.first_sight(message, False, locked)
        if lines.facts_differ(self, row, message) or \
                (bad and row.waiting):                          # 8
            self.conflicts[message.key] += 1
            return self.answer(Verdict("8", "conflict", "fact"), row)
        if not bad:
            self.fill_in(row, message)
        if not row.waiting:                                     # 6
            return self.answer(Verdict("6", "duplicate"), row)
        self.lines["7"] += 1                                    # 7
        before = row.verdict, row.detail
        if row.verdict == "deferred" and not locked:
            case = self.again_deferred(row)
        else:
            case = self.decide(row, locked=locked)
        if row.makes_known and (row.verdict, row.detail) != before:
            self.wake(case.payment, case.order, message)
        return self.answer(None, row)

    def again_deferred(self, row):
        """12: nobody overtakes: those of the order before it in the drain
        order, then itself."""
        case = lines.find(self, row)
        if case.order is None or row.set_aside or \
                self.gateways[row.message.gateway].paused:
            return self.decide(row)
        self.drain([one for one in self.deferred_of(case.order)
                    if one is row or one.drain_key < row.drain_key])
        return lines.find(self, row)

    def other_event(self, message):
        """8, its second half: the payment under the other of the two."""
        payment = self.payments.get((message.gateway, message.txn_id))
        if message.event in PAYING and payment is not None and \
                payment.event != message.event:
            return Verdict("8 other", "conflict", "fact")
        return None

    def first_sight(self, message, bad, locked):
        self.arrivals += 1
        row = Callback(Message(**vars(message)), self.arrivals, invalid=bad)
        self.callbacks[message.key] = row
        if bad:                                                 # 5
            case = lines.Case(self, row)
            if message.event in PAYING and lines.usable(self, message) and \
                    self.other_event(message) is None:
                self.write_payment(case, None)
            row.payment = case.payment
            row.line, row.verdict, row.detail = "5", "mismatch", "invalid"
            self.lines["5"] += 1
            self.wake(case.payment, None, message)
            return self.answer(None, row)
        case = self.decide(row, locked=locked)
        if row.makes_known:
            self.wake(case.payment, case.order, message)
        return self.answer(None, row)

    def fill_in(self, row, message):
        """A fact that was NULL in the stored row and is given now."""
        changed = {name: getattr(message, name) for name in FACTS
                   if getattr(row.message, name) is None and
                   getattr(message, name) is not None}
        if changed:
            waiting = row.waiting
            if waiting:
                verdict, row.verdict = row.verdict, None
                self.list_row(row)      # out of the lists of its old names
                row.verdict = verdict
            for name, value in changed.items():
                setattr(row.message, name, value)
            if waiting:
                self.list_row(row)

    def answer(self, verdict, row):
        if verdict is None:
            verdict = Verdict(row.line, row.verdict, row.detail)
        else:
            self.lines[verdict.line] += 1
        return Answer(verdict.verdict, verdict.detail,
                      row.verdict if row else None,
                      row.order.number if row and row.order else None,
                      verdict.line)

    # ---- orders and attempts ----

    def create_order(self, order_no, amount, currency, machine="order",
                     pay_within=15, cooling_off=5):
        if order_no in self.orders:
            order = self.orders[order_no]
            if (order.amount, order.currency, order.machine.name) != (
                    amount, currency, machine):
                raise Refused("PO003: other content")
            return order
        order = Order(order_no, amount, currency, self.machines[machine],
                      pay_within, cooling_off)
        self.orders[order_no] = order
        if amount == 0:
            payment = Payment("none", order_no, "pay", 0, currency, order,
                              disposition="order")
            order.payments.append(payment)
            order.go(self.edge_taken(order, "pay")["target"])
        self.drain([row for row in self.waiting.get(
            ("reference", order_no), ())])
        return order

    def begin_payment(self, order_no, gateway, payment_no, amount=None,
                      parallel=False):
        order = self.orders[order_no]
        if not (order.open or order.frozen) or order.closing or \
                order.machine.final(order.state):
            raise Refused("PO001: neither open nor frozen")
        if order.open_attempts and not parallel:
            raise Refused("PO001: an attempt is open")
        if any(one.gateway == gateway for one in order.open_attempts) and \
                not self.gateways[gateway].parallel_attempts:
            raise Refused("PO001: an attempt of this gateway is open")
        if not self.gateways[gateway].enabled:
            raise Refused("PO010: disabled")
        attempt = Attempt(payment_no, order, gateway,
                          order.left if amount is None else amount)
        order.attempts.append(attempt)
        self.attempts[payment_no] = attempt

    def fire(self, order_no, event):
        order = self.orders[order_no]
        if event in MONEY_EDGES:
            raise Refused("PO016: a money edge")
        edge = self.edge_taken(order, event)
        if edge is None or edge.get("by") == "timer":
            raise Refused(f"PO001: {event} in {order.state}")
        order.go(edge["target"])

    # ---- refunds ----

    def request_refund(self, refund_no, order_no, amount=None, payment=None):
        """payment: (gateway, txn_id), or None for the order's only one."""
        order = self.orders[order_no]
        refund = self.refunds.get(refund_no)
        if refund is not None:
            if amount is not None and amount != refund.amount:
                raise Refused("PO014: other amount")
            return
        if payment is None:
            candidates = [one for one in order.payments
                          if one.disposition == "order" and
                          one.gateway != "none"]
            if len(candidates) != 1:
                raise Refused(f"{len(candidates)} payments")
            purse = candidates[0]
        else:
            purse = self.payments[payment]
            if purse.order is not order:
                raise Refused("the payment of another order")
        if purse.stuck():
            raise Refused("PO006: one is stuck")                # 40
        owed = purse.pot("owed") - purse.held()
        can = owed + purse.pot("kept")
        amount = can if amount is None else amount
        if not 0 < amount <= can:
            raise Refused(f"PO006: {amount} of {can}")
        taken = {"owed": min(amount, owed)}
        taken["kept"] = amount - taken["owed"]
        for pot, part in taken.items():
            purse.move(pot, "returning", part)
        self.add_refund(Refund(refund_no, purse, amount, "order", "asked",
                               taken))
        self.wake(purse, order)

    def run_refund_all(self, order):
        """The kernel's task: one numbered refund per kept payment; where one
        is stuck a new number is refused (40), so it waits for its end."""
        order.refund_all_due = False
        if not order.machine.refunds_all(order.state):
            return
        for payment in order.payments:
            amount = payment.pot("kept")
            if amount > 0 and payment.stuck():
                order.refund_all_waits = True
            elif amount > 0:
                payment.move("kept", "returning", amount)
                self.add_refund(Refund(
                    self.kernel_number(payment, "order"), payment, amount,
                    "order", "asked", {"kept": amount}))
        if self.nothing_left(order)[0]:
            edge = self.edge_taken(order, "refunded")
            if edge is not None:
                order.go(edge["target"])

    # ---- workers ----

    def lease(self, task):
        """A worker got it; nobody else may have it."""
        if task in self.leases:
            raise Refused(f"task {task} is leased")
        self.leases.add(task)

    def claim(self, kind, number):
        """A worker got this task; number: the refund's."""
        refund = self.refund(number)
        if kind == "refund":
            if refund is None:
                raise Refused(f"no refund {number} to be asked for")
            if not refund.open:
                self.idle_claims += 1       # choice: no harm, but no use
            refund.claimed = refund.leased = True
        elif kind == "return" and (refund is None or refund.state != "held"):
            raise Refused(f"no return of {number} to be asked about: "
                          f"{refund and refund.state}")

    def complete(self, kind, number, messages=(), confirmed=None,
                 unknown=False):
        """A worker's answer: messages are ingested; confirmed: of a return,
        whether the gateway confirms all that it was asked about; unknown: the
        gateway does not know the refund."""
        answers = [self.ingest(message) for message in messages]
        refund = self.refund(number)
        if kind == "refund":
            self.in_doubt(refund, True)
        if kind == "query_refund" and unknown and refund.state == "in_doubt":
            self.never_had(refund)
        if kind == "return" and confirmed and refund.state == "held":
            self.release(refund)
        elif kind == "return":
            refund.under_review = True
        return answers

    def never_had(self, refund):
        """The gateway does not know it: its task is made again, unclaimed; but
        money that is not there any more is not asked back (choice)."""
        payment = refund.payment
        if not refund.task_over:
            return              # it is asked for, or will be again
        refund.claimed = refund.task_over = False
        if payment.reversed or payment.pot("overdrawn") > 0:
            kept = payment.order.kept if payment.order else 0
            payment.cancel(refund)
            self.after_money(payment.order, kept)
            self.wake(payment, payment.order)

    def fail(self, kind, number, retryable):
        """46: neither `fail` nor death frees money."""
        if kind == "refund":
            self.in_doubt(self.refund(number), not retryable)

    def in_doubt(self, refund, task_over):
        """A worker let its task go, without the gateway's final message."""
        refund.leased, refund.task_over = False, task_over
        if refund.state == "asked":
            refund.state = "in_doubt"

    def release(self, refund):
        refund.payment.move("owed", "returning", refund.amount)
        refund.state = "asked"

    # ---- people ----

    def settle_callback(self, key, decision, order_no=None):
        row = self.callbacks[key]
        payment = self.payments.get(key[:2])
        if row.verdict == "deferred":
            raise Refused("deferred")
        if decision == "dismiss":
            return self.dismiss(row, payment, order_no)
        if row.message.event not in PAYING or payment is None or \
                payment.event != row.message.event:
            raise Refused("it made no payment")
        order = payment.order or self.orders.get(order_no)
        if payment.pot("review") == 0:
            raise Refused("nothing to decide")
        if decision == "attach":
            return self.attach(row, order)
        kept = order.kept if order else 0
        if decision == "return":
            amount = payment.pot("review")
            payment.disposition = "surplus"                     # choice
            payment.move("review", "owed", amount)
            self.automatic_return(payment, "review")
            if row.verdict == "parked":
                row.order = order
                self.set_verdict(row, "late", "returned")
        else:
            self.settle_keep(row, payment, order)
        self.after_money(order, kept)
        self.wake(payment, order)
        return self.answer(None, row)

    def settle_keep(self, row, payment, order):
        if order is None or payment.reversed or order.paid or \
                payment.currency != order.currency or \
                payment.amount < order.left:
            raise Refused("can't be kept")
        if order.open:
            edge = self.edge_taken(order, "pay")
        elif order.frozen and not order.is_refunded:
            edge = None
        else:
            edge = self.edge_taken(order, "reopen")
            if edge is None or order.frozen:
                raise Refused("no edge")
        if payment.order is None:
            payment.order = order
            order.payments.append(payment)
        payment.disposition = "order"
        payment.move("review", "kept", payment.pot("review"))
        order.frozen = False
        if edge is not None:
            order.go(edge["target"])
        row.order = order
        self.set_verdict(row, "applied", "settled")

    def attach(self, row, order):
        if (row.verdict, row.detail) != ("parked", "order") or order is None:
            raise Refused("not parked for an order")
        row.attached = order
        case = self.decide(row)
        self.wake(case.payment, case.order, row.message)
        return self.answer(None, row)

    def dismiss(self, row, payment, order_no):
        if payment is not None and row.message.event in PAYING and \
                payment.pot("review") > 0:
            raise Refused("there is money in it")
        if row.verdict == "parked":
            row.order = row.order or self.orders.get(order_no)
            self.set_verdict(row, "stale", "dismissed")
        return self.answer(None, row)

    def set_verdict(self, row, verdict, detail):
        row.verdict, row.detail, row.decided = verdict, detail, self.now
        self.lines["settled " + verdict] += 1
        self.list_row(row)

    def settle_refund(self, number, decision, now):
        refund = self.refund(number)
        payment = refund.payment
        order = payment.order
        kept = order.kept if order else 0
        asked = refund.open and (refund.state != "asked" or refund.claimed or
                                 refund.under_review)
        if decision == "succeeded" and asked:
            payment.move("returning", "returned", refund.amount)
            refund.state, refund.succeeded_at = "succeeded", now
        elif decision == "failed" and asked:
            refund.state = "failed"
            payment.come_back("returning", refund.amount,
                              [("owed", refund.amount)])
        elif decision == "release" and refund.state == "held":
            self.release(refund)
        elif decision == "cancel" and refund.state == "held":
            payment.cancel(refund)
        elif decision == "keep" and refund.state in (
                "failed", "reversed", "cancelled") and self.may_keep(refund):
            amount = self.still_owed(refund)
            payment.move("owed", "kept", amount)
            refund.kept_again += amount
        else:
            raise Refused(f"{decision} of a refund {refund.state}")
        self.lines["refund " + decision] += 1
        self.after_money(order, kept)
        self.wake(payment, order)

    def may_keep(self, refund):
        """owed -> kept."""
        payment, order = refund.payment, refund.payment.order
        return payment.disposition == "order" and not payment.reversed and \
            not order.machine.refunds_all(order.state) and \
            not order.is_refunded and self.still_owed(refund) > 0

    def still_owed(self, refund):
        """Of a refund no more can be kept than its amount (choice)."""
        payment = refund.payment
        return min(refund.amount - refund.kept_again,
                   payment.pot("owed") - payment.held())

    # ---- gateways and sweeps ----

    def pause(self, gateway):
        self.gateways[gateway].paused = True

    def resume(self, gateway):
        self.gateways[gateway].paused = False

    def trouble(self, order_no, on):
        self.orders[order_no].trouble = on

    def sweep(self, later=0):
        """All that is due `later` minutes from now, nobody else about.  The
        driver makes leases run out in time set forward only."""
        if later >= LEASE:
            self.leases.clear()
            for refund in self.refunds.values():
                if refund.leased:
                    self.in_doubt(refund, False)
        for _ in range(20):
            if not self.sweep_once():
                break
        if later:
            for order in list(self.orders.values()):
                self.fire_timers(order, later)
            self.sweep()

    def sweep_once(self):
        done = False
        ready = [row for row in self.deferred if not row.set_aside and
                 not self.gateways[row.message.gateway].paused]
        groups = {}
        for row in ready:
            groups.setdefault(lines.find(self, row).order, []).append(row)
        for rows in groups.values():
            self.drain(rows)
            done = done or any(row.verdict != "deferred" for row in rows)
        for order in self.orders.values():
            if order.refund_all_due:
                self.run_refund_all(order)
                done = True
        return done

    def fire_timers(self, order, later):
        state = order.state
        for length, event in sorted(order.machine.firing_timers(order)):
            if length > later or order.state != state:
                continue
            if not order.machine.paid_side(state) and any(
                    row.verdict == "deferred" and row.message.event in PAYING
                    for row in self.waiting_of(order)):
                continue        # its closing timers are put off
            edge = self.edge_taken(order, event)
            if edge is not None:
                order.go(edge["target"])
