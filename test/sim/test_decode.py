"""Unit tests of decode.py (python3 -m unittest discover -s test/sim).

The bodies here are written by hand after the gateways' documents, not made by
templates.py; one class at the end has the generator's output decoded too.
"""

import json
import time
import unittest
from datetime import datetime, timedelta, timezone
from urllib.parse import quote_plus

import decode
from decode import BadMessage, Fact

CHINA = timezone(timedelta(hours=8))


def facts(gateway, body):
    """Facts without their payload, which is checked by itself."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    return [Fact(**{**f.__dict__, "payload": None})
            for f in decode.notice(gateway, body)]


def wechat(kind, resource):
    return {"envelope": {
        "id": "EV-2018022511223320873", "create_time":
        "2015-05-20T13:29:35+08:00", "resource_type": "encrypt-resource",
        "event_type": kind, "summary": "支付成功",
        "resource": {"original_type": "transaction",
                     "algorithm": "AEAD_AES_256_GCM", "ciphertext": "…",
                     "associated_data": "", "nonce": "fdasflkja484"}},
        "resource": resource}


WECHAT_PAID = {
    "transaction_id": "1217752501201407033233368018",
    "amount": {"payer_total": 90, "total": 100, "currency": "CNY",
               "payer_currency": "CNY"},
    "mchid": "1230000109", "trade_state": "SUCCESS", "bank_type": "CMC",
    "success_time": "2018-06-08T10:34:56+08:00",
    "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
    "out_trade_no": "P1217752501201407033", "appid": "wxd678efh567hg6787",
    "trade_state_desc": "支付成功", "trade_type": "JSAPI"}

WECHAT_REFUND = {
    "mchid": "1900000100", "transaction_id": "1008450740201411110005820873",
    "out_trade_no": "P20150806125346", "refund_id": "50200207182018070300011",
    "out_refund_no": "R7752501201407033233368018", "refund_status": "SUCCESS",
    "success_time": "2018-06-08T10:34:56+08:00",
    "user_received_account": "招商银行信用卡0403",
    "amount": {"total": 999, "refund": 333, "payer_total": 999,
               "payer_refund": 332}}


class Money(unittest.TestCase):
    def test_decimals(self):
        for text, currency, wanted in (
                ("19.90", "CNY", 1990), ("19.9", "CNY", 1990),
                ("19", "CNY", 1900), ("0.01", "CNY", 1), ("500", "JPY", 500),
                ("1.234", "KWD", 1234), ("0", "USD", 0)):
            self.assertEqual(decode.minor_units(text, currency), wanted)

    def test_refused(self):
        for text, currency in (
                ("19.901", "CNY"), ("1.5", "JPY"), ("1.0", "JPY"),
                ("1.2345", "KWD"), ("-1", "CNY"), ("1e2", "CNY"),
                ("NaN", "CNY"), ("01.00", "CNY"), (".5", "CNY"), ("5.", "CNY"),
                (" 5", "CNY"), ("５", "CNY"), ("5\n", "CNY"), ("", "CNY"),
                (None, "CNY"), (5, "CNY"), ("5", "cny"), ("1,000", "USD")):
            with self.assertRaises(BadMessage, msg=repr((text, currency))):
                decode.minor_units(text, currency)

    def test_integers(self):
        for value in (100.0, 100.5, "100", True, None):
            with self.assertRaises(BadMessage, msg=repr(value)):
                decode.integer(value)

    def test_stripe_quirks(self):
        self.assertEqual(decode.stripe_units(500, "JPY"), 500)
        self.assertEqual(decode.stripe_units(50000, "ISK"), 500)
        self.assertEqual(decode.stripe_units(12340, "KWD"), 12340)
        with self.assertRaises(BadMessage):
            decode.stripe_units(50050, "UGX")


class Wechat(unittest.TestCase):
    def test_paid(self):
        self.assertEqual(
            facts("wechat", wechat("TRANSACTION.SUCCESS", WECHAT_PAID)),
            [Fact("wechat", "1217752501201407033233368018", "pay",
                  order_no="P1217752501201407033", amount=100, currency="CNY",
                  occurred_at=datetime(2018, 6, 8, 10, 34, 56, tzinfo=CHINA))])

    def test_payload_is_the_body(self):
        body = json.dumps(wechat("TRANSACTION.SUCCESS", WECHAT_PAID)).encode()
        self.assertEqual(decode.notice("wechat", body)[0].payload,
                         body.decode())

    def test_refund_has_no_currency(self):
        self.assertEqual(
            facts("wechat", wechat("REFUND.SUCCESS", WECHAT_REFUND)),
            [Fact("wechat", "50200207182018070300011", "refund",
                  order_no="P20150806125346", amount=333,
                  occurred_at=datetime(2018, 6, 8, 10, 34, 56, tzinfo=CHINA),
                  payment_txn="1008450740201411110005820873",
                  refund_no="R7752501201407033233368018")])

    def test_refund_closed_and_abnormal(self):
        for status, event in (("CLOSED", "refund_failed"),
                              ("ABNORMAL", "refund_stuck")):
            resource = {**WECHAT_REFUND, "refund_status": status}
            del resource["success_time"]
            fact, = facts("wechat", wechat("REFUND." + status, resource))
            self.assertEqual((fact.event, fact.txn_id, fact.occurred_at),
                             (event, "50200207182018070300011", None))

    def test_refund_that_contradicts_itself(self):
        with self.assertRaises(BadMessage):
            facts("wechat", wechat("REFUND.CLOSED", WECHAT_REFUND))

    def test_revoked(self):
        """Only a query tells it."""
        answer = decode.payment_answer("wechat", "P1217752501201407033", {
            **WECHAT_PAID, "trade_state": "REVOKED"})
        fact, = answer.facts
        self.assertEqual((fact.event, fact.txn_id, fact.order_no),
                         ("pay_reversed", "1217752501201407033233368018",
                          "P1217752501201407033"))

    def test_ignored(self):
        for kind in ("TRANSACTION.PAY_BACK", "TRANSACTION.FAIL",
                     "PROFITSHARING.CLEARED",
                     "COMPLAINT.CREATE", "PAYSCORE.USER_PAID"):
            self.assertEqual(facts("wechat", wechat(kind, WECHAT_PAID)), [])

    def test_bad(self):
        good = json.dumps(wechat("TRANSACTION.SUCCESS", WECHAT_PAID))
        for bad in (good.replace('"total": 100', '"total": 100, "total": 1'),
                    good.replace('"total": 100', '"total": 100.0'),
                    good.replace('"total": 100', '"total": "100"'),
                    good.replace('1217752501201407033233368018', ''),
                    good.replace('+08:00"', '"'), good[:-1], "[]", "NaN"):
            with self.assertRaises(BadMessage, msg=bad):
                facts("wechat", bad.encode())

    def test_query(self):
        answer = decode.payment_answer("wechat", "P1217752501201407033",
                                       WECHAT_PAID)
        self.assertEqual(answer.kind, "paid")
        self.assertEqual(answer.facts[0].txn_id,
                         "1217752501201407033233368018")
        for state, kind in (("NOTPAY", "not_paid"), ("USERPAYING", "not_paid"),
                            ("CLOSED", "closed"), ("PAYERROR", "failed")):
            self.assertEqual(decode.payment_answer("wechat", "P1", {
                "out_trade_no": "P1", "trade_state": state}).kind, kind)
        self.assertEqual(decode.payment_answer(
            "wechat", "P1", {"code": "ORDER_NOT_EXIST"}).kind, "unknown")

    def test_close(self):
        answer = decode.close_answer("wechat", "P1", {})
        self.assertEqual(answer.kind, "closed")
        self.assertEqual((answer.facts[0].txn_id, answer.facts[0].event),
                         ("P1", "pay_closed"))
        self.assertEqual(decode.close_answer(
            "wechat", "P1", {"code": "ORDER_PAID"}).kind, "already_paid")
        with self.assertRaises(BadMessage):
            decode.close_answer("wechat", "P1", {"code": "SYSTEM_ERROR"})

    def test_refund_answer(self):
        document = {**WECHAT_REFUND, "status": "SUCCESS"}
        document["amount"] = {**document["amount"], "currency": "CNY"}
        answer = decode.refund_answer("wechat", document, "R1")
        self.assertEqual(answer.kind, "done")
        self.assertEqual(answer.facts[0].currency, "CNY")
        self.assertEqual(decode.refund_answer(
            "wechat", {**document, "status": "PROCESSING"}, "R1").kind,
            "pending")
        self.assertEqual(decode.refund_answer(
            "wechat", {"code": "RESOURCE_NOT_EXISTS"}, "R1").kind, "unknown")


ALIPAY_PAID = {
    "gmt_create": "2024-03-01 10:00:00", "charset": "utf-8",
    "seller_email": "a@b.cn", "subject": "茶 & 饼", "sign": "f/+w==",
    "buyer_id": "2088102116773037", "invoice_amount": "19.80",
    "notify_id": "2024030100222100003037", "fund_bill_list":
    '[{"amount":"19.80","fundChannel":"ALIPAYACCOUNT"}]',
    "notify_type": "trade_status_sync", "trade_status": "TRADE_SUCCESS",
    "receipt_amount": "19.80", "app_id": "2021000122600001",
    "buyer_pay_amount": "19.80", "sign_type": "RSA2",
    "seller_id": "2088101106499364", "gmt_payment": "2024-03-01 10:00:05",
    "notify_time": "2024-03-01 10:00:06", "version": "1.0",
    "out_trade_no": "P7xkq2m9wz", "total_amount": "19.90",
    "trade_no": "2024030122001473037", "point_amount": "0.00"}


def form(fields, charset="utf-8"):
    return "&".join(
        f"{name}={quote_plus(value, encoding=charset)}"
        for name, value in fields.items()).encode()


PAID_FACT = Fact("alipay", "2024030122001473037", "pay",
                 order_no="P7xkq2m9wz", amount=1990, currency="CNY",
                 occurred_at=datetime(2024, 3, 1, 10, 0, 5, tzinfo=CHINA))


class Alipay(unittest.TestCase):
    def test_paid_and_finished(self):
        for status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
            self.assertEqual(
                facts("alipay", form({**ALIPAY_PAID, "trade_status": status})),
                [PAID_FACT])

    def test_charset(self):
        for charset in ("gbk", "GB18030", "utf-8"):
            body = form({**ALIPAY_PAID, "charset": charset}, charset)
            fact, = decode.notice("alipay", body)
            self.assertEqual(json.loads(fact.payload)["subject"], "茶 & 饼")

    def test_part_refund_proves_both(self):
        body = form({**ALIPAY_PAID, "refund_fee": "15.00",
                     "out_biz_no": "RF000001_1",
                     "gmt_refund": "2024-03-02 09:00:00.123"})
        self.assertEqual(facts("alipay", body), [PAID_FACT, Fact(
            "alipay", "2024030122001473037:RF000001_1", "refund",
            order_no="P7xkq2m9wz", amount=1500, currency="CNY",
            occurred_at=datetime(2024, 3, 2, 9, 0, 0, 123000, tzinfo=CHINA),
            payment_txn="2024030122001473037", refund_no="RF000001_1",
            amount_is_total=True)])

    def test_refund_made(self):
        """alipay.trade.refund: the total again, and only if money moved."""
        def made(**changes):
            return decode.refund_answer("alipay", {
                "alipay_trade_refund_response": {
                    "code": "10000", "fund_change": "Y",
                    "trade_no": "2024030122001473037",
                    "out_trade_no": "P7xkq2m9wz", "refund_fee": "15.00",
                    "gmt_refund_pay": "2024-03-02 09:00:00", **changes}},
                "RF000001_1")

        answer = made()
        self.assertEqual(answer.kind, "done")
        fact, = answer.facts
        self.assertEqual(
            (fact.txn_id, fact.refund_no, fact.amount, fact.amount_is_total),
            ("2024030122001473037:RF000001_1", "RF000001_1", 1500, True))
        self.assertEqual(made(fund_change="N"), decode.Answer("pending"))
        self.assertEqual(made(
            code="40004", sub_code="ACQ.SELLER_BALANCE_NOT_ENOUGH"),
            decode.Answer("pending"))

    def test_refund_without_number(self):
        refund = facts("alipay", form({
            **ALIPAY_PAID, "trade_status": "TRADE_CLOSED",
            "refund_fee": "19.90"}))[1]
        self.assertEqual((refund.txn_id, refund.refund_no),
                         ("2024030122001473037:P7xkq2m9wz", None))

    def test_closed(self):
        self.assertEqual(
            facts("alipay", form({**ALIPAY_PAID,
                                  "trade_status": "TRADE_CLOSED"})),
            [Fact("alipay", "P7xkq2m9wz", "pay_closed",
                  order_no="P7xkq2m9wz")])

    def test_ignored(self):
        for fields in ({**ALIPAY_PAID, "trade_status": "WAIT_BUYER_PAY"},
                       {"notify_type": "depositback.completed",
                        "dback_status": "F"}):
            self.assertEqual(facts("alipay", form(fields)), [])

    def test_bad(self):
        good = form(ALIPAY_PAID)
        for bad in (good + b"&total_amount=0.01", good + b"&x",
                    good.replace(b"19.90", b"19.901"),
                    good.replace(b"19.90", b"1e3"),
                    good.replace(b"utf-8", b"utf-7"),
                    good.replace(b"%E8%8C%B6", b"%E8%8C"),
                    good.replace(b"10%3A00%3A05", b"noon"),
                    good.replace(b"trade_no=2024030122001473037", b"")):
            with self.assertRaises(BadMessage, msg=bad):
                facts("alipay", bad)

    def test_answers(self):
        trade = {"code": "10000", "trade_status": "TRADE_SUCCESS",
                 "trade_no": "2024030122001473037", "total_amount": "19.90",
                 "out_trade_no": "P7xkq2m9wz",
                 "send_pay_date": "2024-03-01 10:00:05"}

        def query(**changes):
            return decode.payment_answer("alipay", "P7xkq2m9wz", {
                "alipay_trade_query_response": {**trade, **changes}})

        self.assertEqual(query().kind, "paid")
        self.assertEqual(query().facts[0].txn_id, PAID_FACT.txn_id)
        self.assertEqual(query(trade_status="WAIT_BUYER_PAY").kind, "not_paid")
        self.assertEqual(query(trade_status="TRADE_CLOSED").kind, "closed")
        self.assertEqual(query(code="40004",
                               sub_code="ACQ.TRADE_NOT_EXIST").kind, "unknown")
        with self.assertRaises(BadMessage):
            query(code="20000", sub_code="aop.unknow-error")

    def test_refund_query_has_the_single_amount(self):
        answer = decode.refund_answer("alipay", {
            "alipay_trade_fastpay_refund_query_response": {
                "code": "10000", "trade_no": "2024030122001473037",
                "out_trade_no": "P7xkq2m9wz", "out_request_no": "RF1",
                "total_amount": "19.90", "refund_amount": "5.00",
                "refund_status": "REFUND_SUCCESS"}}, "RF1")
        self.assertEqual(answer.kind, "done")
        fact, = answer.facts
        self.assertEqual((fact.txn_id, fact.amount, fact.amount_is_total),
                         ("2024030122001473037:RF1", 500, False))


def stripe(kind, thing, created=1709258405):
    return {"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event",
            "api_version": "2024-10-28.acacia", "created": created,
            "data": {"object": thing}, "livemode": False,
            "pending_webhooks": 0, "type": kind}


DISPUTE = {"id": "du_1MtJUT2eZvKYlo2CNaw2HvEv", "object": "dispute",
           "amount": 1000, "charge": "ch_1AZtxr2eZvKYlo2CJDX8whov",
           "balance_transactions": [{"amount": -1000, "fee": 1500}],
           "created": 1680651737, "currency": "kwd",
           "payment_intent": "pi_1GszsK2eZvKYlo2CfhZyoZLp",
           "reason": "general", "status": "needs_response"}
INTENT = {"id": "pi_3MtwBwLkdIwHu7ix28a3tqPa", "object": "payment_intent",
          "amount": 2500, "amount_received": 2000, "currency": "usd",
          "latest_charge": "ch_3MmlLrLkdIwHu7ix0snN0B15",
          "last_payment_error": None, "status": "succeeded",
          "created": 1709258400, "metadata": {"payment_no": "P7xkq2m9wz"}}
REFUND = {"id": "re_1Nispe2eZvKYlo2Cd31jOCgZ", "object": "refund",
          "amount": 1000, "charge": "ch_1NirD82eZvKYlo2CIvbtLWuY",
          "created": 1692942318, "currency": "usd",
          "metadata": {"refund_no": "RF000001_0"},
          "payment_intent": "pi_1GszsK2eZvKYlo2CfhZyoZLp",
          "status": "succeeded"}
WHEN = datetime.fromtimestamp(1709258405, timezone.utc)


class Stripe(unittest.TestCase):
    def test_paid(self):
        self.assertEqual(
            facts("stripe", stripe("payment_intent.succeeded", INTENT)),
            [Fact("stripe", "pi_3MtwBwLkdIwHu7ix28a3tqPa", "pay",
                  order_no="P7xkq2m9wz", amount=2000, currency="USD",
                  occurred_at=WHEN)])

    def test_doubles_are_ignored(self):
        for kind in ("charge.succeeded", "charge.captured", "charge.updated",
                     "charge.refunded", "checkout.session.completed",
                     "invoice.paid", "payment_intent.created",
                     "payment_intent.processing", "charge.dispute.created",
                     "charge.dispute.updated"):
            self.assertEqual(facts("stripe", stripe(kind, INTENT)), [], kind)

    def test_failed(self):
        failed = {**INTENT, "status": "requires_payment_method"}
        for changes, txn_id in (
                ({}, "ch_3MmlLrLkdIwHu7ix0snN0B15"),
                ({"latest_charge": None,
                  "last_payment_error": {"charge": "ch_other"}}, "ch_other"),
                ({"latest_charge": None}, "evt_1NG8Du2eZvKYlo2CUI79vXWy")):
            fact, = facts("stripe", stripe("payment_intent.payment_failed",
                                           {**failed, **changes}))
            self.assertEqual((fact.event, fact.txn_id, fact.payment_txn,
                              fact.amount),
                             ("pay_failed", txn_id,
                              "pi_3MtwBwLkdIwHu7ix28a3tqPa", None))

    def test_canceled(self):
        fact, = facts("stripe", stripe("payment_intent.canceled", INTENT))
        self.assertEqual((fact.event, fact.txn_id, fact.order_no),
                         ("pay_closed", "pi_3MtwBwLkdIwHu7ix28a3tqPa",
                          "P7xkq2m9wz"))

    def test_refunds(self):
        for kind, status, event in (
                ("refund.created", "succeeded", "refund"),
                ("refund.updated", "succeeded", "refund"),
                ("refund.failed", "failed", "refund_failed"),
                ("refund.updated", "canceled", "refund_failed")):
            self.assertEqual(
                facts("stripe", stripe(kind, {**REFUND, "status": status})),
                [Fact("stripe", "re_1Nispe2eZvKYlo2Cd31jOCgZ", event,
                      amount=1000, currency="USD", occurred_at=WHEN,
                      payment_txn="pi_1GszsK2eZvKYlo2CfhZyoZLp",
                      refund_no="RF000001_0")])
        for status in ("pending", "requires_action"):
            self.assertEqual(facts("stripe", stripe(
                "refund.created", {**REFUND, "status": status})), [])

    def test_disputes(self):
        for kind, event in (("funds_withdrawn", "chargeback"),
                            ("funds_reinstated", "chargeback_reversed")):
            self.assertEqual(
                facts("stripe", stripe("charge.dispute." + kind, DISPUTE)),
                [Fact("stripe", "du_1MtJUT2eZvKYlo2CNaw2HvEv", event,
                      amount=1000, currency="KWD", occurred_at=WHEN,
                      payment_txn="pi_1GszsK2eZvKYlo2CfhZyoZLp")])

    def test_dispute_closed(self):
        fact, = facts("stripe", stripe("charge.dispute.closed",
                                       {**DISPUTE, "status": "lost"}))
        self.assertEqual((fact.event, fact.amount, fact.currency),
                         ("chargeback_lost", None, None))
        for status in ("won", "warning_closed"):
            self.assertEqual(facts("stripe", stripe(
                "charge.dispute.closed", {**DISPUTE, "status": status})), [])

    def test_console_refund_names_no_number(self):
        fact, = facts("stripe", stripe("refund.created",
                                       {**REFUND, "metadata": {}}))
        self.assertIsNone(fact.refund_no)

    def test_bad(self):
        for thing in ({**INTENT, "amount_received": 20.5},
                      {**INTENT, "amount_received": "2000"},
                      {**INTENT, "currency": None}, {**INTENT, "id": None},
                      {**INTENT, "metadata": None}):
            with self.assertRaises(BadMessage):
                facts("stripe", stripe("payment_intent.succeeded", thing))

    def test_answers(self):
        for status, kind in (("succeeded", "paid"), ("canceled", "closed"),
                             ("processing", "not_paid"),
                             ("requires_payment_method", "not_paid")):
            self.assertEqual(decode.payment_answer(
                "stripe", "P7xkq2m9wz", {**INTENT, "status": status}).kind,
                kind)
        missing = {"error": {"code": "resource_missing"}}
        self.assertEqual(decode.payment_answer("stripe", "P1", missing).kind,
                         "unknown")
        self.assertEqual(decode.close_answer("stripe", "P1", {"error": {
            "code": "payment_intent_unexpected_state",
            "payment_intent": INTENT}}).kind, "already_paid")
        self.assertEqual(decode.refund_answer("stripe", REFUND, "R1").kind,
                         "done")
        self.assertEqual(decode.refund_answer("stripe", missing, "R1").kind,
                         "unknown")


def adyen(*items, live="false"):
    return {"live": live, "notificationItems": [
        {"NotificationRequestItem": {
            "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQ="},
            "amount": {"value": 1130, "currency": "EUR"},
            "eventDate": "2024-03-01T10:00:05+01:00",
            "merchantAccountCode": "TestMerchant", "paymentMethod": "visa",
            "merchantReference": "P7xkq2m9wz", "success": "true",
            "pspReference": "7914073381342284", "reason": "", **item}}
        for item in items]}


class Adyen(unittest.TestCase):
    """A merchant account that captures by hand, in parts."""

    def test_events(self):
        reference = {"order_no": "P7xkq2m9wz"}
        money = {"amount": 1130, "currency": "EUR"}
        when = datetime(2024, 3, 1, 10, 0, 5,
                        tzinfo=timezone(timedelta(hours=1)))
        for code, success, event, more in (
                ("AUTHORISATION", "true", "authorised", reference),
                ("AUTHORISATION", "false", "pay_failed", reference),
                ("CAPTURE", "true", "pay_part", {**reference, **money}),
                ("CANCELLATION", "true", "pay_closed", reference),
                ("REFUND", "true", "refund",
                 {"refund_no": "P7xkq2m9wz", **money}),
                ("REFUND", "false", "refund_failed",
                 {"refund_no": "P7xkq2m9wz", **money}),
                ("REFUND_FAILED", "true", "refund_failed",
                 {"refund_no": "P7xkq2m9wz", **money})):
            self.assertEqual(
                facts("adyen", adyen({"eventCode": code, "success": success,
                                      "originalReference": "862515"})),
                [Fact("adyen", "7914073381342284", event, occurred_at=when,
                      **more)], code)

    def test_capture_failed(self):
        failed, undone = facts("adyen", adyen({
            "eventCode": "CAPTURE_FAILED", "success": "true",
            "originalReference": "862515"}))
        self.assertEqual((failed.event, failed.txn_id, failed.order_no,
                          failed.amount),
                         ("pay_failed", "7914073381342284", "P7xkq2m9wz",
                          None))
        self.assertEqual((undone.event, undone.txn_id, undone.payment_txn,
                          undone.amount, undone.currency),
                         ("pay_reversed", "7914073381342284",
                          "7914073381342284", 1130, "EUR"))

    def test_several_items(self):
        found = facts("adyen", adyen(
            {"eventCode": "AUTHORISATION"}, {"eventCode": "REPORT_AVAILABLE"},
            {"eventCode": "CAPTURE", "pspReference": "8825408195409505"}))
        self.assertEqual([(f.event, f.txn_id) for f in found],
                         [("authorised", "7914073381342284"),
                          ("pay_part", "8825408195409505")])

    def test_ignored(self):
        for code in ("NOTIFICATION_OF_CHARGEBACK", "REPORT_AVAILABLE",
                     "REQUEST_FOR_INFORMATION"):
            self.assertEqual(facts("adyen", adyen({"eventCode": code})), [])

    def test_bad(self):
        for bad in (adyen({"eventCode": "CAPTURE"}, live="true"),
                    adyen({"eventCode": "CAPTURE", "success": True}),
                    adyen({"eventCode": "CAPTURE", "pspReference": ""}),
                    adyen({"eventCode": "CAPTURE", "amount":
                           {"value": 11.3, "currency": "EUR"}}),
                    {"live": "false"}):
            with self.assertRaises(BadMessage, msg=bad):
                facts("adyen", bad)

    def test_answers_say_nothing_yet(self):
        received = {"status": "received", "pspReference": "8825408195409505"}
        self.assertEqual(decode.refund_answer("adyen", received, "R1"),
                         decode.Answer("pending"))
        self.assertEqual(decode.payment_answer("adyen", "P1", {}),
                         decode.Answer("not_paid"))


class Generated(unittest.TestCase):
    """What templates.py renders means what went in."""

    def test_payments(self):
        import templates as t
        now = int(time.time())
        when = datetime.fromtimestamp(now, timezone.utc)
        for gateway, currency, amount, body in (
                ("wechat", "CNY", 12345, t.wechat_paid(
                    "EV-1", "n" * 12, now, out_trade_no="P1",
                    transaction_id="T1", total=12345, currency="CNY",
                    paid_at=now)),
                ("alipay", "CNY", 12305, t.alipay_paid(
                    "N1", now, "gbk", "P1", "T1", 12305, now)),
                ("alipay", "CNY", 7, t.alipay_paid(
                    "N1", now, "utf-8", "P1", "T1", 7, now,
                    status="TRADE_FINISHED")),
                ("stripe", "ISK", 321, t.stripe_paid(
                    "evt_1", now, "T1", "ch_1", "P1", 321, "ISK", now)),
                ("stripe", "KWD", 1230, t.stripe_paid(
                    "evt_1", now, "T1", "ch_1", "P1", 1230, "KWD", now))):
            self.assertEqual(facts(gateway, body), [Fact(
                gateway, "T1", "pay", order_no="P1", amount=amount,
                currency=currency, occurred_at=when)])

    def test_refunds(self):
        import templates as t
        now = int(time.time())
        for gateway, body, key, amount in (
                ("wechat", t.wechat_refunded(
                    "EV-1", "n" * 12, now, "P1", "T1", "RF1", "5030", 900,
                    300, "SUCCESS", now), "5030", 300),
                ("alipay", t.alipay_refunded(
                    "N1", now, "utf-8", "P1", "T1", 900, now, "RF1", 600,
                    now), "T1:RF1", 600),
                ("stripe", t.stripe_refund_event(
                    "evt_1", "refund.created", now, t.stripe_refund_object(
                        "re_1", "T1", "ch_1", "RF1", 300, "USD", "succeeded",
                        now)), "re_1", 300)):
            fact = facts(gateway, body)[-1]
            self.assertEqual(
                (fact.txn_id, fact.event, fact.amount, fact.payment_txn,
                 fact.refund_no, fact.amount_is_total),
                (key, "refund", amount, "T1", "RF1", gateway == "alipay"))

    def test_totals_in_answers(self):
        import templates as t
        fact, = decode.refund_answer("alipay", t.alipay_refund_made(
            "P1", "T1", 600, True, 1709258405), "RF1").facts
        self.assertEqual((fact.txn_id, fact.amount, fact.amount_is_total),
                         ("T1:RF1", 600, True))
        self.assertEqual(decode.refund_answer("alipay", t.alipay_refund_made(
            "P1", "T1", 600, False, 1709258405), "RF1").kind, "pending")

    def test_taken_back(self):
        import templates as t
        fact, = decode.payment_answer("wechat", "P1", t.wechat_trade(
            "P1", "T1", 5, "CNY", "REVOKED", 1)).facts
        self.assertEqual((fact.event, fact.txn_id, fact.amount),
                         ("pay_reversed", "T1", 5))
        for kind, status, event, amount in (
                ("funds_withdrawn", "needs_response", "chargeback", 7),
                ("funds_reinstated", "won", "chargeback_reversed", 7),
                ("closed", "lost", "chargeback_lost", None)):
            fact, = facts("stripe", t.stripe_dispute(
                "evt_1", kind, 1, "dp_1", "pi_1", "ch_1", 7, "ISK", status))
            self.assertEqual((fact.event, fact.txn_id, fact.payment_txn,
                              fact.amount), (event, "dp_1", "pi_1", amount))

    def test_adyen(self):
        import templates as t
        found = facts("adyen", t.adyen_post(
            t.adyen_item("AUTHORISATION", "A1", "P1", 9, "EUR", 1),
            t.adyen_item("CAPTURE", "C1", "P1", 3, "EUR", 1, original="A1"),
            t.adyen_item("CAPTURE_FAILED", "C1", "P1", 3, "EUR", 1),
            t.adyen_item("REFUND", "B1", "RF1", 2, "EUR", 1, original="A1")))
        self.assertEqual(
            [(f.event, f.txn_id, f.order_no, f.amount, f.payment_txn,
              f.refund_no) for f in found],
            [("authorised", "A1", "P1", None, None, None),
             ("pay_part", "C1", "P1", 3, None, None),
             ("pay_failed", "C1", "P1", None, None, None),
             ("pay_reversed", "C1", None, 3, "C1", None),
             ("refund", "B1", None, 2, None, "RF1")])

    def test_till(self):
        import templates as t
        from keyring import TILL
        payment = {"txn_id": "T1", "order_no": "P1", "amount": 900,
                   "currency": "CNY"}
        fact, = facts("till", t.hmac_event(TILL, "pay", 1, **payment))
        self.assertEqual((fact.event, fact.txn_id, fact.order_no, fact.amount,
                          fact.currency), ("pay", "T1", "P1", 900, "CNY"))
        fact, = facts("till", t.hmac_event(TILL, "pay_reversed", 1, **payment))
        self.assertEqual((fact.event, fact.txn_id, fact.amount),
                         ("pay_reversed", "T1", None))
        fact, = facts("till", t.hmac_event(
            TILL, "refund", 1, refund_id="R1", refund_no="RF1",
            refund_amount=300, **payment))
        self.assertEqual((fact.event, fact.txn_id, fact.payment_txn,
                          fact.refund_no, fact.amount),
                         ("refund", "R1", "T1", "RF1", 300))
        self.assertEqual(facts("till", t.hmac_event(TILL, "settled", 1,
                                                    **payment)), [])

    def test_doubles_say_nothing(self):
        import templates as t
        for gateway, body in (
                ("wechat", t.wechat_profit_sharing("EV-1", "n" * 12, 1, "T1")),
                ("alipay", t.alipay_waiting("N1", 1, "utf-8", "P1", "T1", 9)),
                ("stripe", t.stripe_charge("evt_1", "charge.succeeded", 1,
                                           "pi_1", "ch_1", "P1", 9, "EUR"))):
            self.assertEqual(facts(gateway, body), [])


if __name__ == "__main__":
    unittest.main()
