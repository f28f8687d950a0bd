"""What one gateway knows: payments, refunds, and its answers about them.

The truth of the simulation.  Nothing of it comes from payorder's tables; it
learns numbers from the shop and requests from the workers, as a gateway does.
Every fact is in the ledger file before it is told to anybody.

Locks: one, around everything.
"""

import functools
import math
import threading
import time
from dataclasses import dataclass, field

import stories
from channels import CHANNELS

# seconds for which a refund's number protects it; elsewhere it does for ever
MEMORY = {"stripe": 9}


@dataclass
class Payment:
    i: int
    attempt: object             # fate.Try
    reference: str              # the number that it was begun with
    created_at: float
    state: str = "new"          # new, paid, closed, failed
    hidden: bool = False        # paid, but not shown before release
    revoked: bool = False
    paid_at: float = None
    silences: int = 0
    returned: int = 0

    @property
    def txn_id(self):
        return self.attempt.txn_id

    @property
    def amount(self):
        return self.attempt.amount

    @property
    def currency(self):
        return self.attempt.currency

    def shown(self):
        if self.state == "paid" and self.hidden:
            return "hidden"
        return "revoked" if self.revoked else self.state


@dataclass
class Refund:
    number: str
    payment: Payment
    amount: int
    back: object                # fate.Back
    console: bool = False
    state: str = "asked"        # asked, pending, done, refused, stuck, back
    turn: int = 0               # paid so often before with this number
    answers: int = 0
    asked_at: float = field(default_factory=time.monotonic)
    silences: int = 0
    so_far: int = 0             # returned of the payment, with this one
    done_at: float = None
    told: bool = False


class Books:
    """mail is told what to send; see mail.py."""

    def __init__(self, gateway, seed, ledger, mail):
        self.gateway = gateway
        self.channel = CHANNELS[gateway]()
        self.seed = seed
        self.ledger = ledger
        self.mail = mail
        self.lock = threading.RLock()
        self.by_reference = {}
        self.by_txn = {}
        self.refunds = {}

    @functools.lru_cache(maxsize=4096)
    def fate(self, i):
        return stories.draw(self.seed, i)

    # ---- what buyers and clerks do; told by the shop's process ----

    def _attempt(self, i, k):
        fate = self.fate(i)
        return fate.foreign if k == 9 else fate.tries[k]

    def _payment(self, i, k, reference):
        attempt = self._attempt(i, k)
        payment = self.by_txn.get(attempt.txn_id)
        if payment is None:
            payment = Payment(i, attempt, reference, time.time(),
                              silences=attempt.silences)
            self.by_txn[attempt.txn_id] = payment
            if attempt.known:
                self.by_reference[reference] = payment
        return payment

    def register(self, i, k, reference):
        with self.lock:
            self._payment(i, k, reference)

    def pay(self, i, k, reference, hold=False):
        with self.lock:
            payment = self._payment(i, k, reference)
            if payment.state == "paid":
                return
            payment.state, payment.paid_at = "paid", time.time()
            payment.hidden = hold
            self.by_reference[reference] = payment
            self.ledger.note("payment", txn_id=payment.txn_id,
                             reference=reference, amount=payment.amount,
                             currency=payment.currency, i=i, k=k)
            if not hold:
                self._tell_payment(payment)

    def release(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            if payment.hidden:
                payment.hidden = False
                self._tell_payment(payment)

    def foreign(self, i, k, reference):
        self.pay(i, k, reference)

    def _tell_payment(self, payment):
        attempt = payment.attempt
        self.mail.post(payment.i, attempt.k, "pay", payment.txn_id,
                       attempt.pay,
                       lambda n: self.channel.paid(payment, n))
        for body in self.channel.doubles(payment):
            self.mail.post_once(body, attempt.pay.delay)
        if attempt.finished:
            body = self.channel.finished(payment, 0)
            self.mail.post_once(body, attempt.pay.delay + 1.5)

    def fail(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            attempt = payment.attempt
            if payment.state == "new" and self.gateway != "stripe":
                payment.state = "failed"
                self.ledger.note("closed", reference=reference)
            times = attempt.failures if self.gateway == "stripe" else 1
            for attempt_no in range(1, times + 1):
                make = self._decline(payment, attempt_no)
                self.mail.post(i, k, "fail", payment.txn_id, attempt.end, make)

    def _decline(self, payment, attempt_no):
        if self.gateway == "stripe":
            return lambda n: self.channel.failed(payment, n, attempt_no)
        return lambda n: self.channel.failed(payment, n)

    def close_by_itself(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            if payment.state == "new":
                payment.state = "closed"
                self.ledger.note("closed", reference=reference)
            self.mail.post(i, k, "close", payment.txn_id, payment.attempt.end,
                           lambda n: self.channel.closed(payment, n))

    def lie(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            self.mail.post(i, k, "lie", payment.txn_id, payment.attempt.end,
                           lambda n: self.channel.told_otherwise(payment, n))

    def authorise(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            self.mail.post(i, k, "authorise", payment.txn_id,
                           payment.attempt.end,
                           lambda n: self.channel.authorised(payment, n))

    def revoke(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            payment.revoked = True
            self.ledger.note("reversed", txn_id=payment.txn_id)
            self.mail.post(i, k, "revoke", payment.txn_id, payment.attempt.end,
                           lambda n: self.channel.revoked(payment, n))

    def dispute(self, i, k, reference, do, n):
        """A dispute's money goes, comes back, or is lost for good."""
        number = int(n)
        with self.lock:
            payment = self._payment(i, k, reference)
            plan = self.fate(i).disputes[number]
            kind, status, delivery = {
                "withdraw": ("funds_withdrawn", "needs_response",
                             plan.withdrawn),
                "reinstate": ("funds_reinstated", "won", plan.ended),
                "lose": ("closed", "lost", plan.ended)}[do]
            self.ledger.note(do, txn_id=payment.txn_id, amount=plan.amount,
                             currency=payment.currency,
                             key=self.channel.dispute_id(payment.txn_id,
                                                         number))
            self.mail.post(i, k, do + "2" * number, payment.txn_id, delivery,
                           lambda n: self.channel.dispute(
                               payment, number, plan.amount, kind, status))

    def ghost(self, i, k, reference):
        fate = self.fate(i)
        self.ledger.note("ghost", key=self.channel.ghost_id(i))
        self.mail.post(i, k, "ghost", self.channel.ghost_id(i),
                       fate.tries[0].end, lambda n: self.channel.ghost(
                           i, fate.amount, fate.currency))

    def unrefund(self, i, k, reference):
        """A refund that went through comes back."""
        with self.lock:
            refund = self.refunds[self.fate(i).refunds[0].number]
            refund.payment.returned -= refund.amount
            refund.state = "back"
            self.ledger.note("refund_back", txn_id=refund.payment.txn_id,
                             key=self.channel.refund_key(refund),
                             amount=refund.amount,
                             currency=refund.payment.currency)
            self.mail.post(i, k, "unrefund", refund.payment.txn_id,
                           refund.payment.attempt.end,
                           lambda n: self.channel.refund_back(refund, n))

    def console_refund(self, i, k, reference):
        with self.lock:
            payment = self._payment(i, k, reference)
            number = "CONSOLE%06d" % i
            refund = Refund(number, payment, self.fate(i).console,
                            payment.attempt.back, console=True)
            self.refunds[number] = refund
            self._do_refund(refund, "console_refund")

    # ---- what workers ask ----

    def ask_payment(self, number):
        with self.lock:
            payment = self.by_reference.get(number)
            if payment is None:
                return self.channel.unknown_payment(number)
            return self.channel.payment_document(payment, payment.shown())

    def ask_close(self, number):
        """The answer, None for silence."""
        with self.lock:
            payment = self.by_reference.get(number)
            if payment is None:
                unknown = getattr(self.channel, "unknown_close",
                                  self.channel.unknown_payment)
                return unknown(number)
            if payment.state == "paid":
                return None if payment.hidden \
                    else self.channel.already_paid(payment)
            if payment.silences > 0:
                payment.silences -= 1
                return None
            if not payment.attempt.closes:
                return None
            if payment.state != "closed":
                payment.state = "closed"
                self.ledger.note("closed", reference=number)
            return self.channel.close_document(payment)

    def ask_refund(self, number, txn_id, amount):
        with self.lock:
            payment = self.by_txn.get(txn_id)
            refund = self.refunds.get(number)
            if payment is None or payment.state != "paid":
                return self.channel.unknown_refund(number)
            if refund is None or self._forgotten(refund):
                back = self._back(payment, number)
                refund = Refund(number, payment, amount, back,
                                turn=refund.turn + 1 if refund else 0,
                                silences=back.silences)
                self.refunds[number] = refund
            if refund.amount != amount or refund.payment is not payment:
                self.ledger.note("misused", refund_no=number, txn_id=txn_id)
            return self._treat(refund)

    def _back(self, payment, number):
        plan = self.fate(payment.i).refund(number)
        if plan:
            return plan.back
        return payment.attempt.again if number.startswith("PEOPLE") \
            else payment.attempt.back

    def _forgotten(self, refund):
        """Whether the number protects no more: the money goes out again."""
        return refund.state in ("done", "pending") and \
            time.monotonic() - refund.asked_at > \
            MEMORY.get(self.gateway, math.inf)

    def _treat(self, refund):
        back = refund.back
        if back.outcome == "never":
            return None
        if refund.silences > 0 or \
                time.monotonic() - refund.asked_at < back.silent_for:
            refund.silences -= refund.silences > 0
            if back.done_in_silence and refund.state == "asked":
                self._do_refund(refund)
            return None
        again = refund.state != "asked"
        if not again:
            self._decide(refund)
        return self.channel.refund_made(refund, again)

    def _decide(self, refund):
        outcome = refund.back.outcome
        if outcome == "ok":
            self._do_refund(refund)
        elif outcome == "slow":
            refund.state = "pending"
            self.mail.later(refund.back.takes, lambda: self._finish(refund))
        elif outcome == "refused":
            self._refuse(refund)
        else:
            refund.state = "stuck"
            self._tell_refund(refund, self.channel.refund_stuck)

    def _refuse(self, refund):
        refund.state = "refused"
        self.ledger.note("refused", refund_no=refund.number,
                         txn_id=refund.payment.txn_id)
        self._tell_refund(refund, self.channel.refund_refused)

    def _finish(self, refund):
        with self.lock:
            if refund.state == "pending":
                self._do_refund(refund)

    def _do_refund(self, refund, label="refund"):
        payment = refund.payment
        payment.returned += refund.amount
        refund.so_far = payment.returned
        refund.state, refund.done_at = "done", time.time()
        self.ledger.note("refund", txn_id=payment.txn_id,
                         refund_no=None if refund.console else refund.number,
                         key=self.channel.refund_key(refund),
                         amount=refund.amount, currency=payment.currency,
                         too_much=payment.returned > payment.amount)
        self._tell_refund(refund, self.channel.refunded, label)
        for body in self.channel.refund_doubles(refund):
            self.mail.post_once(body, 0.1)

    def _tell_refund(self, refund, make, label="refund"):
        if make is None or refund.back.delivery is None:
            return
        self.mail.post(refund.payment.i, refund.payment.attempt.k, label,
                       self.channel.refund_key(refund), refund.back.delivery,
                       lambda n: make(refund, n))

    def ask_about_refund(self, number):
        with self.lock:
            refund = self.refunds.get(number)
            if refund is None or refund.state == "asked":
                if refund is not None and refund.back.outcome == "never":
                    return None
                return self.channel.unknown_refund(number)
            return self.channel.refund_document(refund)

    def has(self, txn_id):
        with self.lock:
            payment = self.by_txn.get(txn_id)
            return payment is not None and payment.shown() == "paid"

    def refund_state(self, number):
        with self.lock:
            refund = self.refunds.get(number)
            return refund.state if refund else None

    # ---- the console, as a person of the shop's sees it ----

    def console(self, number):
        """How a refund stands: succeeded, failed, under way or unknown.

        A stuck one is put right by the person's looking; one that was never
        answered turns out as failed.
        """
        with self.lock:
            refund = self.refunds.get(number)
            if refund is None:
                return "unknown"
            if refund.state == "asked" and refund.back.outcome == "never":
                refund.state = "refused"
            if refund.state == "stuck" and refund.back.cured == "done":
                self._do_refund(refund)
            elif refund.state == "stuck":
                self._refuse(refund)
            return {"done": "succeeded", "refused": "failed",
                    "back": "failed"}.get(refund.state, "under way")

    def knows(self, txn_id):
        with self.lock:
            payment = self.by_txn.get(txn_id)
            return payment is not None and payment.state == "paid"
