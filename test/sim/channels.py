"""The gateways' ways of talking: which document for which occasion.

A channel turns what the books hold (books.py) into bodies and answers by the
templates.  It keeps nothing.  n numbers the sendings of one notice: a re-send
carries the same notice id, and where the gateway encrypts or signs anew,
another nonce.
"""

import time

import templates as t
from keyring import TILL


class Wechat:
    name = "wechat"

    def notice(self, what, thing, n):
        mark = t.scramble(self.name, what, thing)
        return {"notice_id": "EV-" + mark[:32],
                "nonce": t.scramble(mark, n, time.time()),
                "sent_at": time.time()}

    def trade(self, p):
        return {"out_trade_no": p.reference, "transaction_id": p.txn_id,
                "total": p.amount, "currency": p.currency,
                "paid_at": p.paid_at}

    def paid(self, p, n):
        return t.wechat_paid(**self.notice("pay", p.txn_id, n),
                             **self.trade(p))

    def told_otherwise(self, p, n):
        trade = self.trade(p)
        trade["total"] += 7
        return t.wechat_paid(**self.notice("lie", p.txn_id, n), **trade)

    def failed(self, p, n):
        return t.wechat_not_paid(**self.notice("fail", p.txn_id, n),
                                 out_trade_no=p.reference, state="PAYERROR")

    def closed(self, p, n):
        return t.wechat_not_paid(**self.notice("close", p.txn_id, n),
                                 out_trade_no=p.reference, state="CLOSED")

    def refund_notice(self, r, n, status):
        return t.wechat_refunded(
            **self.notice(status, r.number, n),
            out_trade_no=r.payment.reference, transaction_id=r.payment.txn_id,
            out_refund_no=r.number, refund_id=self.refund_id(r),
            total=r.payment.amount, refund=r.amount, status=status,
            done_at=r.done_at)

    def refunded(self, r, n):
        return self.refund_notice(r, n, "SUCCESS")

    def refund_refused(self, r, n):
        return self.refund_notice(r, n, "CLOSED")

    def refund_stuck(self, r, n):
        return self.refund_notice(r, n, "ABNORMAL")

    def doubles(self, p):
        """Messages that say nothing new about the payment."""
        if p.i % 8:
            return []
        return [t.wechat_profit_sharing(**self.notice("share", p.txn_id, 0),
                                        transaction_id=p.txn_id)]

    def refund_doubles(self, r):
        return []

    def refund_id(self, r):
        return "5030" + "%024d" % (
            int(t.scramble("refund", r.payment.txn_id, r.number)[:18], 16)
            % 10 ** 24)

    refund_key = refund_id

    def unknown_payment(self, number):
        return t.wechat_error("ORDER_NOT_EXIST", "订单不存在")

    def payment_document(self, p, state):
        states = {"paid": "SUCCESS", "hidden": "USERPAYING", "new": "NOTPAY",
                  "closed": "CLOSED", "failed": "PAYERROR",
                  "revoked": "REVOKED"}
        return t.wechat_trade(state=states[state], **self.trade(p))

    def close_document(self, p):
        return {}

    def already_paid(self, p):
        return t.wechat_error("ORDER_PAID", "该订单已支付")

    def unknown_refund(self, number):
        return t.wechat_error("RESOURCE_NOT_EXISTS", "退款单不存在")

    def refund_document(self, r):
        states = {"done": "SUCCESS", "pending": "PROCESSING",
                  "refused": "CLOSED", "stuck": "ABNORMAL"}
        return t.wechat_refund_document(
            r.payment.reference, r.payment.txn_id, r.number,
            self.refund_id(r), r.payment.amount, r.amount,
            r.payment.currency, states[r.state], r.done_at or time.time())

    def refund_made(self, r, again):
        """The answer to the request for it."""
        return self.refund_document(r)


class Alipay:
    name = "alipay"

    def notice(self, what, thing):
        return {"notify_id": t.scramble(self.name, what, thing)[:34],
                "sent_at": time.time(),
                "charset": "gbk" if thing.endswith("3") else "utf-8"}

    def paid(self, p, n):
        return t.alipay_paid(**self.notice("pay", p.txn_id),
                             out_trade_no=p.reference, trade_no=p.txn_id,
                             total=p.amount, paid_at=p.paid_at)

    def finished(self, p, n):
        return t.alipay_paid(**self.notice("finished", p.txn_id),
                             out_trade_no=p.reference, trade_no=p.txn_id,
                             total=p.amount, paid_at=p.paid_at,
                             status="TRADE_FINISHED")

    def told_otherwise(self, p, n):
        return t.alipay_paid(**self.notice("lie", p.txn_id),
                             out_trade_no=p.reference, trade_no=p.txn_id,
                             total=p.amount + 7, paid_at=p.paid_at)

    def closed(self, p, n):
        return t.alipay_closed(**self.notice("close", p.txn_id),
                               out_trade_no=p.reference, trade_no=p.txn_id,
                               total=p.amount)

    failed = closed     # Alipay tells no failures, only ends

    def refunded(self, r, n):
        return t.alipay_refunded(
            **self.notice("refund", r.number),
            out_trade_no=r.payment.reference, trade_no=r.payment.txn_id,
            total=r.payment.amount, paid_at=r.payment.paid_at,
            out_biz_no=r.number, refunded_so_far=r.so_far,
            done_at=r.done_at)

    refund_refused = refund_stuck = None    # told as an answer only

    def doubles(self, p):
        if p.i % 5:
            return []
        return [t.alipay_waiting(**self.notice("wait", p.txn_id),
                                 out_trade_no=p.reference, trade_no=p.txn_id,
                                 total=p.amount)]

    def refund_doubles(self, r):
        return []

    def refund_key(self, r):
        return r.payment.txn_id + ":" + r.number

    def unknown_payment(self, number):
        return t.alipay_refusal("trade_query", "ACQ.TRADE_NOT_EXIST",
                                "交易不存在")

    def unknown_close(self, number):
        return t.alipay_refusal("trade_close", "ACQ.TRADE_NOT_EXIST",
                                "交易不存在")

    def payment_document(self, p, state):
        states = {"paid": "TRADE_SUCCESS", "hidden": "WAIT_BUYER_PAY",
                  "new": "WAIT_BUYER_PAY", "closed": "TRADE_CLOSED",
                  "failed": "TRADE_CLOSED"}
        return t.alipay_query_document(p.reference, p.txn_id, states[state],
                                       p.amount, p.paid_at or time.time())

    def close_document(self, p):
        return t.alipay_close_document(p.reference, p.txn_id)

    def already_paid(self, p):
        return t.alipay_refusal("trade_close", "ACQ.TRADE_STATUS_ERROR",
                                "交易状态不合法")

    def unknown_refund(self, number):
        return t.alipay_refusal("trade_fastpay_refund_query",
                                "TRADE_NOT_EXIST", "查询退款的交易不存在")

    def refund_document(self, r):
        states = {"done": "REFUND_SUCCESS", "refused": "REFUND_FAIL"}
        return t.alipay_refund_document(
            r.payment.reference, r.payment.txn_id, r.number, r.payment.amount,
            r.amount, states.get(r.state), r.done_at or time.time())

    def refund_made(self, r, again):
        if r.state == "refused":
            return t.alipay_refusal("trade_refund",
                                    "ACQ.SELLER_BALANCE_NOT_ENOUGH",
                                    "卖家余额不足")
        return t.alipay_refund_made(
            r.payment.reference, r.payment.txn_id, r.payment.returned,
            r.state == "done" and not again, r.done_at or time.time())


class Stripe:
    name = "stripe"

    def event_id(self, what, thing):
        return "evt_1" + t.scramble(what, thing)[:23]

    def charge(self, p, attempt=0):
        return "ch_3" + t.scramble("charge", p.txn_id, attempt)[:23]

    def paid(self, p, n):
        return t.stripe_paid(self.event_id("pay", p.txn_id), time.time(),
                             p.txn_id, self.charge(p), p.reference, p.amount,
                             p.currency, p.paid_at)

    def told_otherwise(self, p, n):
        return t.stripe_paid(self.event_id("lie", p.txn_id), time.time(),
                             p.txn_id, self.charge(p), p.reference,
                             p.amount + 10, p.currency, p.paid_at)

    def failed(self, p, n, attempt=1):
        return t.stripe_declined(
            self.event_id(f"fail{attempt}", p.txn_id), time.time(), p.txn_id,
            self.charge(p, attempt), p.reference, p.amount, p.currency,
            p.created_at)

    def closed(self, p, n):
        return t.stripe_canceled(self.event_id("close", p.txn_id),
                                 time.time(), p.txn_id, p.reference, p.amount,
                                 p.currency, p.created_at)

    def refund_object(self, r, status):
        number = None if r.console else r.number
        return t.stripe_refund_object(
            self.refund_id(r), r.payment.txn_id, self.charge(r.payment),
            number, r.amount, r.payment.currency, status,
            r.done_at or time.time())

    def refunded(self, r, n):
        kind = "refund.updated" if r.back.outcome == "slow" \
            else "refund.created"
        return t.stripe_refund_event(self.event_id("refund", r.number), kind,
                                     time.time(),
                                     self.refund_object(r, "succeeded"))

    def refund_refused(self, r, n):
        return t.stripe_refund_event(self.event_id("refused", r.number),
                                     "refund.failed", time.time(),
                                     self.refund_object(r, "failed"))

    refund_stuck = None

    def refund_back(self, r, n):
        return t.stripe_refund_event(self.event_id("back", r.number),
                                     "refund.failed", time.time(),
                                     self.refund_object(r, "failed"))

    def dispute_id(self, txn_id, n):
        return "dp_1" + t.scramble("dispute", txn_id, n)[:23]

    def dispute(self, p, number, amount, kind, status):
        key = self.dispute_id(p.txn_id, number)
        return t.stripe_dispute(self.event_id(kind, key), kind, time.time(),
                                key, p.txn_id, self.charge(p), amount,
                                p.currency, status)

    def ghost_id(self, i):
        return "dp_1" + t.scramble("ghost", i)[:23]

    def ghost(self, i, amount, currency):
        """A dispute of a payment that somebody else took."""
        key = self.ghost_id(i)
        return t.stripe_dispute(
            self.event_id("ghost", key), "funds_withdrawn", time.time(), key,
            "pi_3" + t.scramble("ghost pi", i)[:23],
            "ch_3" + t.scramble("ghost ch", i)[:23], amount, currency,
            "needs_response")

    def doubles(self, p):
        return [t.stripe_charge(self.event_id("charge", p.txn_id),
                                "charge.succeeded", time.time(), p.txn_id,
                                self.charge(p), p.reference, p.amount,
                                p.currency)]

    def refund_doubles(self, r):
        return [t.stripe_charge(self.event_id("back", r.number),
                                "charge.refunded", time.time(),
                                r.payment.txn_id, self.charge(r.payment),
                                r.payment.reference, r.payment.amount,
                                r.payment.currency, refunded=r.so_far)]

    def refund_id(self, r):
        return "re_3" + t.scramble("refund", r.payment.txn_id, r.number,
                                   *[r.turn] * (r.turn > 0))[:23]

    refund_key = refund_id

    def unknown_payment(self, number):
        return t.stripe_missing("payment_intent")

    def payment_document(self, p, state):
        states = {"paid": "succeeded", "hidden": "processing",
                  "new": "requires_payment_method", "closed": "canceled",
                  "failed": "requires_payment_method"}
        return t.stripe_intent(p.txn_id, p.reference, p.amount, p.currency,
                               states[state], p.created_at,
                               self.charge(p) if state == "paid" else None)

    def close_document(self, p):
        return self.payment_document(p, "closed")

    def already_paid(self, p):
        return t.stripe_cannot_cancel(self.payment_document(p, "paid"))

    def unknown_refund(self, number):
        return t.stripe_missing("refund")

    def refund_document(self, r):
        states = {"done": "succeeded", "pending": "pending",
                  "refused": "failed", "back": "failed"}
        return self.refund_object(r, states[r.state])

    def refund_made(self, r, again):
        return self.refund_document(r)


class Adyen:
    """Captures in parts; says of everything later how it went."""
    name = "adyen"

    def psp(self, what, thing):
        return t.scramble(self.name, what, thing)[:16].upper()

    def item(self, event, psp, p, reference, amount, **more):
        return t.adyen_item(event, psp, reference, amount, p.currency,
                            time.time(), **more)

    def authorised(self, p, n):
        return t.adyen_post(self.item(
            "AUTHORISATION", self.psp("auth", p.reference), p, p.reference,
            p.amount))

    def paid(self, p, n):
        return t.adyen_post(self.item(
            "CAPTURE", p.txn_id, p, p.reference, p.amount,
            original=self.psp("auth", p.reference)))

    def revoked(self, p, n):
        return t.adyen_post(self.item(
            "CAPTURE_FAILED", p.txn_id, p, p.reference, p.amount,
            original=self.psp("auth", p.reference), reason="Bank error"))

    def doubles(self, p):
        """A report, which says nothing to us, in a POST of its own."""
        return [t.adyen_post(self.item(
            "REPORT_AVAILABLE", self.psp("report", p.txn_id), p, "", 0))]

    def refund_key(self, r):
        return self.psp("refund", r.number)

    def refund_notice(self, r, success):
        return t.adyen_post(self.item(
            "REFUND", self.refund_key(r), r.payment, r.number, r.amount,
            original=self.psp("auth", r.payment.reference), success=success))

    def refunded(self, r, n):
        return self.refund_notice(r, True)

    def refund_refused(self, r, n):
        return self.refund_notice(r, False)

    refund_stuck = None

    def refund_doubles(self, r):
        return []

    def unknown_payment(self, number):
        return {}

    def payment_document(self, p, state):
        return {}

    def close_document(self, p):
        return {}

    already_paid = close_document

    def unknown_refund(self, number):
        return {}

    def refund_document(self, r):
        return {}

    def refund_made(self, r, again):
        return t.adyen_received(self.refund_key(r),
                                self.psp("auth", r.payment.reference))


class Till:
    """Any gateway that signs with HMAC; takes payments back by itself."""
    name = "till"

    def event(self, event, p, amount=None, **more):
        return t.hmac_event(TILL, event, time.time(), txn_id=p.txn_id,
                            order_no=p.reference, currency=p.currency,
                            amount=p.amount if amount is None else amount,
                            **more)

    def paid(self, p, n):
        return self.event("pay", p)

    def told_otherwise(self, p, n):
        return self.event("pay", p, p.amount + 7)

    def failed(self, p, n):
        return self.event("pay_failed", p)

    def closed(self, p, n):
        return self.event("pay_closed", p)

    def revoked(self, p, n):
        return self.event("pay_reversed", p)

    def doubles(self, p):
        return [self.event("settled", p)] if p.i % 3 == 0 else []

    def refund_notice(self, r, event):
        return self.event(event, r.payment, refund_id=self.refund_key(r),
                          refund_no=r.number, refund_amount=r.amount)

    def refunded(self, r, n):
        return self.refund_notice(r, "refund")

    def refund_refused(self, r, n):
        return self.refund_notice(r, "refund_failed")

    refund_stuck = None

    def refund_doubles(self, r):
        return []

    def refund_key(self, r):
        return "TR" + t.scramble("refund", r.payment.txn_id, r.number)[:24]

    def payment(self, p):
        return {"id": p.txn_id, "number": p.reference, "amount": p.amount,
                "currency": p.currency}

    def unknown_payment(self, number):
        return {"state": "unknown"}

    unknown_refund = unknown_payment

    def payment_document(self, p, state):
        states = {"paid": "paid", "hidden": "open", "new": "open",
                  "closed": "ended", "failed": "declined",
                  "revoked": "taken back"}
        return t.till_payment(self.payment(p), states[state])

    def close_document(self, p):
        return self.payment_document(p, "closed")

    def already_paid(self, p):
        return self.payment_document(p, "paid")

    def refund_document(self, r):
        states = {"done": "refunded", "refused": "refund declined"}
        return t.till_refund(
            self.payment(r.payment),
            {"id": self.refund_key(r), "number": r.number, "amount": r.amount},
            states.get(r.state, "under way"))

    def refund_made(self, r, again):
        return self.refund_document(r)


CHANNELS = {channel.name: channel
            for channel in (Wechat, Alipay, Stripe, Adyen, Till)}
