"""The model answers as VERDICTS.md's worked answers say.  No server."""

import unittest
from datetime import datetime, timedelta

from model import Gateway, Message, Model, Refused
from model_things import POTS

START = datetime(2024, 1, 1)

ORDER = {
    "initial": "pending",
    "parameters": {},
    "states": {
        "pending": {
            "on": {"pay": {"target": "paid"},
                   "cancel": [{"guard": "no_open_attempt",
                               "target": "cancelled"},
                              {"target": "cancelling"}],
                   "close": [{"guard": "no_open_attempt",
                              "target": "expired"},
                             {"target": "closing"}]},
            "after": {"{pay_within}": {"fire": "close"}}},
        "closing": {
            "on": {"pay": {"target": "paid"},
                   "close_confirmed": {"target": "expired"}},
            "after": {"30m": {"fire": "close_confirmed"}}},
        "cancelling": {
            "on": {"pay": {"target": "refunding"},
                   "close_confirmed": {"target": "cancelled"}},
            "after": {"30m": {"fire": "close_confirmed"}}},
        "paid": {
            "on": {"cancel": {"target": "refunding"},
                   "refunded": {"target": "refunded"}}},
        "refunding": {
            "entry": {"enqueue": "refund_all"},
            "on": {"refunded": {"target": "refunded"}}},
        "expired": {"type": "final",
                    "on": {"reopen": {"target": "paid", "within": "2h"}}},
        "cancelled": {"type": "final"},
        "refunded": {"type": "final"}}}


class Case(unittest.TestCase):
    def setUp(self):
        self.model = Model({"order": ORDER},
                           [Gateway("g", parallel_attempts=True),
                            Gateway("h", failed_is_final=False)])
        self.count = 0

    def say(self, txn_id, event, reference=None, amount=None, gateway="g",
            currency="CNY", at=None, **more):
        self.count += 1
        if event in ("pay_failed", "pay_closed", "pay_reversed", "authorised",
                     "chargeback_lost"):
            currency = None
        answer = self.model.ingest(Message(
            gateway, txn_id, event, reference, amount, currency,
            at or START + timedelta(seconds=self.count), **more))
        return answer.line, answer.verdict, answer.detail

    def create(self, number="o", amount=100, **more):
        return self.model.create_order(number, amount, "CNY", **more)

    def paid(self, number="o", txn_id="p", **more):
        order = self.create(number, **more)
        self.says("18", txn_id, "pay", number, order.amount)
        return order

    def says(self, line, *args, **more):
        self.assertEqual(self.say(*args, **more)[0], line)

    def pots(self, txn_id="p", gateway="g", **wanted):
        have = self.model.payments[gateway, txn_id].pots
        full = dict.fromkeys(POTS, 0)
        full.update(wanted)
        self.assertEqual(have, full)

    def state(self, wanted, number="o"):
        self.assertEqual(self.model.orders[number].state, wanted)


class WorkedAnswers(Case):
    def test_seen_key_with_another_amount_on_a_closed_order(self):
        self.create()
        self.model.fire("o", "cancel")
        self.says("14b", "p", "pay", "o", 100)
        self.says("8", "p", "pay", "o", 90)
        self.pots(owed=100)

    def test_unknown_order_with_a_wrong_amount(self):
        self.says("11", "p", "pay", "o", 90)
        self.create()
        row = self.model.callbacks["g", "p", "pay"]
        self.assertEqual((row.line, row.verdict, row.detail),
                         ("16", "mismatch", "amount"))
        self.pots(review=90)

    def test_first_mismatched_second_right(self):
        self.create()
        self.says("16", "p", "pay", "o", 90)
        self.says("18", "q", "pay", "o", 100)
        self.pots(review=90)
        self.pots("q", kept=100)

    def test_first_right_second_of_any_amount(self):
        self.paid()
        self.says("13", "q", "pay", "o", 7, currency="USD")
        self.pots("q", owed=7)

    def test_payment_while_in_a_closing_state(self):
        self.create()
        self.model.begin_payment("o", "g", "ATTEMPT1")
        self.model.fire("o", "cancel")
        self.state("cancelling")
        self.says("18", "p", "pay", "ATTEMPT1", 100)
        self.state("refunding")
        self.model.sweep()
        self.pots(returning=100)

    def test_finished_after_success(self):
        self.paid()
        self.says("6", "p", "pay", "o", 100)
        self.says("8", "p", "pay", "o", 99)

    def test_pay_failed_while_another_attempt_won(self):
        self.create()
        self.model.begin_payment("o", "g", "ATTEMPT1")
        self.model.begin_payment("o", "g", "ATTEMPT2", parallel=True)
        self.says("18", "p", "pay", "ATTEMPT1", 100)
        self.says("23", "ATTEMPT2", "pay_failed", "ATTEMPT2")


class Keys(Case):
    def test_invalid_then_well_formed(self):
        self.create()
        self.says("5", "p", "pay", "o", 0)
        self.says("5", "q", "pay", "o", 100, currency="ZZZ")
        self.assertEqual(self.model.payments, {})
        self.says("18", "p", "pay", "o", 100)
        self.says("8 other", "p", "pay_part", "o", 100)

    def test_conflicting_numbers(self):
        self.create()
        self.create("o2")
        self.model.begin_payment("o", "g", "ATTEMPT1")
        self.says("9", "p", "pay", "ATTEMPT1", 100, gateway="h")
        self.assertEqual(self.model.attempts["ATTEMPT1"].state, "open")
        self.pots("p", "h", review=100)


class Late(Case):
    def test_expired_is_reopened(self):
        self.create(pay_within=10)
        self.model.sweep(20)
        self.state("expired")
        self.says("14b", "p", "pay", "o", 90)
        self.says("14a", "q", "pay", "o", 100)
        self.state("paid")

    def test_closing_waits_for_a_deferred_payment(self):
        self.create(pay_within=10)
        self.model.pause("g")
        self.says("10", "p", "pay", "o", 100)
        self.model.sweep(20)
        self.state("pending")
        self.model.resume("g")
        self.model.sweep()
        self.state("paid")

    def test_close_confirmed_by_the_last_attempt(self):
        self.create(pay_within=10)
        self.model.begin_payment("o", "g", "ATTEMPT1")
        self.model.sweep(20)
        self.state("closing")
        self.says("24", "ATTEMPT1", "pay_closed", "ATTEMPT1")
        self.state("expired")


class Back(Case):
    def test_refund_before_its_payment(self):
        self.create()
        self.says("27", "r", "refund", None, 40, payment_txn="p")
        self.says("18", "p", "pay", "o", 100)
        self.pots(kept=60, returned=40)

    def test_full_refund_before_its_payment(self):
        self.says("27", "r", "refund", "o", 100)
        self.says("11", "p", "pay", "o", 100)
        self.create()
        self.pots(returned=100)
        self.state("refunded")

    def test_ours_cancelled_for_an_external_one(self):
        self.paid()
        self.model.request_refund("R1", "o", 70)
        self.says("35", "r", "refund", None, 50, payment_txn="p")
        self.pots(returned=50, kept=50)
        self.assertEqual(self.model.refunds["R1"].state, "cancelled")
        self.says("34", "r2", "refund", None, 70, payment_txn="p",
                  refund_no="R1")
        self.pots(returned=120, overdrawn=20)

    def test_claimed_is_left_alone(self):
        self.paid()
        self.model.request_refund("R1", "o", 70)
        self.model.claim("refund", "R1")
        self.says("35", "r", "refund", None, 50, payment_txn="p")
        self.pots(returned=50, returning=70, overdrawn=20)
        self.says("39", "r2", "refund_failed", refund_no="R1")
        self.pots(returned=50, owed=50)

    def test_reversal_older_and_newer(self):
        self.paid()
        self.model.request_refund("R1", "o", 70)
        self.says("32", "r0", "refund", None, 60, refund_no="R1")
        self.says("31", "r", "refund", None, 70, refund_no="R1")
        self.says("33", "r1", "refund", None, 30, refund_no="R1")
        self.says("37", "r", "refund_failed", refund_no="R1",
                  at=START - timedelta(days=1))
        self.says("38", "r again", "refund_failed", refund_no="R1", amount=70)
        self.pots(returned=30, owed=70)

    def test_running_totals(self):
        self.paid()
        total = {"payment_txn": "p", "amount_is_total": True}
        self.says("35", "p:1", "refund", None, 30, **total)
        self.says("35", "p:2", "refund", None, 50, **total)
        self.says("29 zero", "p:3", "refund", None, 50, **total)
        self.says("29 less", "p:4", "refund", None, 40, **total)
        self.model.request_refund("R1", "o", 10)
        self.says("29 parked", "p:5", "refund", None, 75, **total)
        self.says("31", "p:R1", "refund", None, 60, refund_no="R1", **total)
        self.pots(kept=25, returned=75)
        self.says("6", "p:2", "refund", None, 20, payment_txn="p")

    def test_reversed_payment_is_restored(self):
        order = self.paid()
        self.model.request_refund("R1", "o", 30)
        self.model.claim("refund", "R1")
        self.says("26", "p", "pay_reversed", "o")
        self.pots(undone=70, returning=30)
        self.assertTrue(order.frozen)
        self.says("39", "R1", "refund_failed", refund_no="R1")
        self.pots(undone=100)
        self.says("16", "q", "pay", "o", 70)
        self.says("13b", "s", "pay", "o", 100)
        self.assertFalse(order.frozen)


class Disputes(Case):
    def test_reversed_before_and_after(self):
        self.paid()
        self.says("43 parked", "d", "chargeback_reversed", None, 60,
                  payment_txn="p")
        self.says("42", "d", "chargeback", None, 60, payment_txn="p")
        self.pots(kept=100)
        self.says("44 parked", "e", "chargeback_lost", payment_txn="p")
        self.says("42", "e", "chargeback", None, 130, payment_txn="p")
        self.pots(disputed=130, overdrawn=30)
        self.says("43", "e", "chargeback_reversed", None, 130,
                  payment_txn="p")
        self.pots(kept=100)


class People(Case):
    def test_mismatch_kept(self):
        self.create()
        self.says("16", "p", "pay", "o", 110)
        self.model.settle_callback(("g", "p", "pay"), "keep")
        self.pots(kept=110)
        self.state("paid")

    def test_mismatch_kept_too_late(self):
        self.create()
        self.says("16", "p", "pay", "o", 110)
        self.says("18", "q", "pay", "o", 100)
        with self.assertRaises(Refused):
            self.model.settle_callback(("g", "p", "pay"), "keep")
        self.model.settle_callback(("g", "p", "pay"), "return")
        self.pots(owed=110)
        refund = ("g", "p", "review", 0)
        self.model.settle_refund(refund, "cancel", START)
        self.model.request_refund("R1", "o", None, ("g", "p"))
        self.pots(returning=110)


if __name__ == "__main__":
    unittest.main()
