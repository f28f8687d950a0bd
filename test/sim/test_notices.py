"""Notices of WeChat Pay and Alipay, signed with the clock of now, through
ingest_http: verdicts, what the gateway is answered, orders and money.
Scenarios 15 to 20, 69, 70; and what a stranger may send."""

import os
import tempfile
import time
import unittest
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

import notice_cases
import notices as n

INCLUDE = Path(__file__).parents[1] / "sql/include"
FAIL = '{"code":"FAIL","message":"失败"}'
WECHATPAY_OK = (200, "text/plain", "")
ALIPAY_OK = (200, "text/plain", "success")


def connect(**more):
    return psycopg.connect(autocommit=True, **more)


class Secrets:
    """Files that the server, which is this user's, may read."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        with connect() as connection:
            connection.execute("LOAD 'payorder'")
            connection.execute("ALTER SYSTEM SET payorder.secret_directory = '"
                               + self.folder.name + "'")
            connection.execute("SELECT pg_reload_conf()")
        while True:
            with connect() as connection:
                connection.execute("LOAD 'payorder'")
                if connection.execute("SHOW payorder.secret_directory"
                                      ).fetchone()[0] == self.folder.name:
                    return

    def add(self, name, content):
        path = os.path.join(self.folder.name, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(content)
        return "file:" + name

    def close(self):
        with connect() as connection:
            connection.execute("LOAD 'payorder'")
            connection.execute("ALTER SYSTEM RESET payorder.secret_directory")
            connection.execute("SELECT pg_reload_conf()")
        self.folder.cleanup()


def set_up(connection, secrets):
    def call(name, *values):
        connection.execute("SELECT payorder." + name, values)

    call("add_gateway('wx', 'wechatpay', %s, %s)", n.MERCHANT, n.APP)
    call("add_gateway_key('wx', %s, public_key => %s)", n.SERIAL,
         n.public_key("wechatpay_platform"))
    call("add_gateway_key('wx', 'v3', 'decrypt', secret => %s)",
         secrets.add("v3", n.API_KEY))
    call("add_gateway('ali', 'alipay', %s, %s)", n.SELLER, n.ALIPAY_APP)
    call("add_gateway_key('ali', '', public_key => %s)",
         n.public_key("alipay"))


class Notices(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.secrets = Secrets()
        cls.db = connect()
        set_up(cls.db, cls.secrets)
        cls.made = 0

    @classmethod
    def tearDownClass(cls):
        cls.db.close()
        cls.secrets.close()

    def setUp(self):
        self.now = int(time.time())
        type(self).made += 1
        self.order = f"N-{self.made}"
        self.refund_no = f"REFUND_{self.made}"
        self.trade = f"20231115220014{self.made:014}"
        self.transaction = f"42000012342023{self.made:014}"
        self.row("SELECT payorder.create_order(%s, 1990, 'CNY')", self.order)

    def tearDown(self):
        self.assertEqual(
            [], self.rows("SELECT * FROM payorder.check_invariants()"))

    def rows(self, statement, *values):
        return self.db.execute(statement, values).fetchall()

    def row(self, statement, *values):
        return self.rows(statement, *values)[0]

    def begin(self, gateway):
        return self.row("SELECT payment_no FROM payorder.begin_payment(%s, %s)",
                        self.order, gateway)[0]

    def send(self, gateway, headers, body):
        """The answer, and the verdict of each fact in it."""
        *answer, results = self.row(
            "SELECT r.ack_status, r.ack_type, r.ack_body,"
            " ARRAY(SELECT concat_ws(' ', f.verdict, f.detail)"
            " FROM unnest(r.results) AS f)"
            " FROM payorder.ingest_http(%s, %s, %s) AS r",
            gateway, Jsonb(headers), body)
        return tuple(answer), results

    def wechatpay(self, kind, resource, at=0, **how):
        return self.send("wx", *n.wechatpay(kind, resource, self.now + at, **how))

    def alipay(self, fields, **how):
        return self.send("ali", {}, n.alipay(fields, **how))

    def paid(self, number, at=0, **changes):
        return n.trade(self.now + at, trade_no=self.trade, out_trade_no=number,
                       **changes)

    def refunded(self, number, total, refund_no, **changes):
        return n.refunded(self.now, total, refund_no, trade_no=self.trade,
                          out_trade_no=number, **changes)

    def payment(self, number, **changes):
        return n.payment(transaction_id=self.transaction,
                         out_trade_no=number, **changes)

    def state(self):
        return self.row("SELECT state, paid_amount, refunded_amount FROM"
                        " payorder.orders WHERE order_no = %s", self.order)

    def counted(self, gateway):
        return dict(self.rows(
            "SELECT verdict || ' ' || reason, sum(messages)::integer"
            " FROM payorder.gateway_messages WHERE gateway = %s"
            " GROUP BY verdict, reason", gateway))

    # ---- what is written ----

    def test_cases_are_the_generators(self):
        for name in ("wechatpay", "alipay"):
            with tempfile.TemporaryFile("w+") as file:
                notice_cases.write(name, file)
                file.seek(0)
                self.assertEqual((INCLUDE / (name + ".psql")).read_text(),
                                 file.read())

    # ---- 69: callback, query and bill line are one payment ----

    def test_one_payment_wechatpay(self):
        number = self.begin("wx")
        self.assertEqual((WECHATPAY_OK, ["applied"]), self.wechatpay(
            "TRANSACTION.SUCCESS", self.payment(number)))
        self.assertEqual((WECHATPAY_OK, ["duplicate"]), self.wechatpay(
            "TRANSACTION.SUCCESS", self.payment(number), at=1, nonce="other"))
        for source in ("query", "callback"):
            self.assertEqual("duplicate", self.row(
                "SELECT verdict FROM payorder.ingest('wx', %s, 'pay', %s, 1990,"
                " 'CNY', source => %s)", self.transaction, number, source)[0])
        self.assertEqual(("paid", 1990, 0), self.state())
        self.assertEqual((1,), self.row(
            "SELECT count(*) FROM payorder.payments WHERE order_no = %s",
            self.order))
        # what people see of it is what was sealed
        self.assertEqual((self.transaction,), self.row(
            "SELECT body::jsonb #>> '{resource,transaction_id}'"
            " FROM payorder.callbacks WHERE txn_id = %s", self.transaction))

    def test_one_payment_alipay(self):
        number = self.begin("ali")
        self.assertEqual((ALIPAY_OK, ["applied"]), self.alipay(self.paid(number)))
        self.assertEqual((ALIPAY_OK, ["duplicate"]),
                         self.alipay(self.paid(number, -3600)))
        self.assertEqual("duplicate", self.row(
            "SELECT verdict FROM payorder.ingest('ali', %s, 'pay', %s, 1990,"
            " 'CNY', source => 'query')", self.trade, number)[0])
        self.assertEqual(("paid", 1990, 0), self.state())

    def test_refund_wechatpay(self):
        number = self.begin("wx")
        self.wechatpay("TRANSACTION.SUCCESS", self.payment(number))
        self.row("SELECT payorder.request_refund(%s, %s, 500, 'x')",
                 self.refund_no, self.order)
        resource = n.refund("SUCCESS", transaction_id=self.transaction,
                            out_trade_no=number,
                            out_refund_no=self.refund_no,
                            refund_id="5" + self.transaction)
        self.assertEqual((WECHATPAY_OK, ["applied"]),
                         self.wechatpay("REFUND.SUCCESS", resource))
        self.assertEqual((WECHATPAY_OK, ["duplicate"]),
                         self.wechatpay("REFUND.SUCCESS", resource, at=-1))
        self.assertEqual(("paid", 1990, 500), self.state())

    def test_stuck_and_failed_wechatpay(self):
        number = self.begin("wx")
        self.wechatpay("TRANSACTION.SUCCESS", self.payment(number))
        self.row("SELECT payorder.request_refund(%s, %s, 500, 'x')",
                 self.refund_no, self.order)
        for status, verdict, state in (
                ("ABNORMAL", "applied stuck", "stuck"),
                ("CLOSED", "applied", "failed")):
            resource = n.refund(status, transaction_id=self.transaction,
                                out_trade_no=number,
                                out_refund_no=self.refund_no,
                                refund_id="5" + self.transaction)
            self.assertEqual((WECHATPAY_OK, [verdict]),
                             self.wechatpay("REFUND." + status, resource))
            self.assertEqual((state,), self.row(
                "SELECT state FROM payorder.refunds WHERE refund_no = %s",
                self.refund_no))

    # ---- 20 and 70: Alipay's refunds ----

    def test_partial_refund_is_first(self):
        number = self.begin("ali")
        self.assertEqual((ALIPAY_OK, ["applied", "applied external"]),
                         self.alipay(self.refunded(number, "5.00", "shop-1")))
        self.assertEqual(("paid", 1990, 500), self.state())

    def test_two_refunds_by_running_total(self):
        number = self.begin("ali")
        self.alipay(self.paid(number))
        for total, refund_no, verdicts in (
                ("5.00", "shop-1", ["duplicate", "applied external"]),
                ("8.00", "shop-2", ["duplicate", "applied external"]),
                ("8.00", "shop-2", ["duplicate", "duplicate external"]),
                ("5.00", "shop-1", ["duplicate", "duplicate external"])):
            self.assertEqual((ALIPAY_OK, verdicts), self.alipay(
                self.refunded(number, total, refund_no)))
        self.assertEqual(("paid", 1990, 800), self.state())
        self.assertEqual([(300,), (500,)], self.rows(
            "SELECT amount FROM payorder.refunds WHERE order_no = %s"
            " ORDER BY amount", self.order))

    def test_two_refunds_of_ours(self):
        number = self.begin("ali")
        self.alipay(self.paid(number))
        for amount, refund_no in ((500, "_1"), (300, "_2")):
            self.row("SELECT payorder.request_refund(%s, %s, %s, 'x')",
                     self.refund_no + refund_no, self.order, amount)
        for total, refund_no in (("5.00", "_1"), ("8.00", "_2")):
            self.assertEqual(
                (ALIPAY_OK, ["duplicate", "applied"]), self.alipay(
                    self.refunded(number, total, self.refund_no + refund_no)))
        self.assertEqual(("paid", 1990, 800), self.state())
        self.assertEqual([(300, "succeeded"), (500, "succeeded")], self.rows(
            "SELECT amount, state FROM payorder.refunds WHERE order_no = %s"
            " ORDER BY amount", self.order))

    def test_full_refund_is_closed(self):
        number = self.begin("ali")
        self.alipay(self.paid(number))
        answer, verdicts = self.alipay(self.refunded(
            number, "19.90", "shop-1", trade_status="TRADE_CLOSED"))
        self.assertEqual((ALIPAY_OK, ["duplicate", "applied external"]),
                         (answer, verdicts))
        self.assertEqual((1990, 1990), self.state()[1:])

    def test_finished_is_first_and_months_later(self):
        number = self.begin("ali")
        self.assertEqual((ALIPAY_OK, ["applied"]), self.alipay(
            self.paid(number, trade_status="TRADE_FINISHED")))
        self.assertEqual((ALIPAY_OK, ["duplicate"]),
                         self.alipay(self.paid(number)))
        self.assertEqual((ALIPAY_OK, ["duplicate"]), self.alipay(
            self.paid(number, trade_status="TRADE_FINISHED",
                      gmt_close=n.china(self.now))))

    def test_closed_unpaid(self):
        number = self.begin("ali")
        self.assertEqual((ALIPAY_OK, ["ignored WAIT_BUYER_PAY"]), self.alipay(
            self.paid(number, trade_status="WAIT_BUYER_PAY")))
        self.assertEqual((ALIPAY_OK, ["applied attempt"]), self.alipay(
            self.paid(number, trade_status="TRADE_CLOSED")))
        self.assertEqual(("closed",), self.row(
            "SELECT state FROM payorder.attempts WHERE payment_no = %s", number))

    # ---- 14: amounts ----

    def test_amounts(self):
        number = self.begin("wx")
        self.assertEqual((WECHATPAY_OK, ["mismatch invalid"]), self.wechatpay(
            "TRANSACTION.SUCCESS", self.payment(number, amount__total=100.5)))
        self.assertEqual((WECHATPAY_OK, ["mismatch amount"]), self.wechatpay(
            "TRANSACTION.SUCCESS", self.payment(number, amount__total=1)))
        self.assertEqual(("pending", 0, 0), self.state())

    # ---- 15 to 17, 19: rejected, and answered so ----

    def test_rejected_wechatpay(self):
        number = self.begin("wx")
        payment = self.payment(number)
        before = self.counted("wx")
        headers, body = n.wechatpay("TRANSACTION.SUCCESS", payment, self.now)
        signature = "Wechatpay-Signature"
        for reason, sent in (
                ("merchant", n.wechatpay("TRANSACTION.SUCCESS", self.payment(
                    number, mchid="1900000110"), self.now)),
                ("merchant", n.wechatpay("TRANSACTION.SUCCESS", self.payment(
                    number, appid="wx0"), self.now)),
                ("signature", n.wechatpay("TRANSACTION.SUCCESS", payment,
                                          self.now, signer="other")),
                ("signature", (headers, body + b"\n")),
                ("header", ({**headers, signature: ""}, body)),
                ("probe", ({**headers, signature: "WECHATPAY/SIGNTEST/abc"},
                           body)),
                ("time", n.wechatpay("TRANSACTION.SUCCESS", payment,
                                     self.now - 330)),
                ("time", n.wechatpay("TRANSACTION.SUCCESS", payment,
                                     self.now + 330)),
                ("decrypt", self.sealed_by_another(payment))):
            with self.subTest(reason):
                self.assertEqual(
                    ((400, "application/json", FAIL), ["rejected " + reason]),
                    self.send("wx", *sent))
        self.assertEqual(("pending", 0, 0), self.state())
        after = self.counted("wx")
        for reason, count in (("merchant", 2), ("signature", 2), ("header", 1),
                              ("probe", 1), ("time", 2), ("decrypt", 1)):
            reason = "rejected " + reason
            self.assertEqual(count, after[reason] - before.get(reason, 0))
        # the same notice as it should be is taken
        self.assertEqual((WECHATPAY_OK, ["applied"]),
                         self.send("wx", headers, body))

    def sealed_by_another(self, payment):
        body = n.envelope("TRANSACTION.SUCCESS", n.compact(payment).encode(),
                          key="k" * 32)
        return n.wechatpay_headers(body, self.now), body

    def test_rejected_alipay(self):
        number = self.begin("ali")
        body = n.alipay(self.paid(number))
        for reason, sent in (
                ("merchant", n.alipay(self.paid(number, app_id="2"))),
                ("merchant", n.alipay(self.paid(number, seller_id="2"))),
                ("merchant", n.alipay(self.paid(number, seller_id=None))),
                ("signature", n.alipay(self.paid(number), signer="other")),
                ("signature", n.alipay(self.paid(number), sign_type="RSA")),
                ("signature", body.replace(b"19.90", b"19.91")),
                ("signature", body + b"&debug=1"),
                ("body", body + b"&total_amount=19.90"),
                ("body", body + b"\n"),
                ("time", n.alipay(self.paid(number, -27 * 3600))),
                ("time", n.alipay(self.paid(number, 27 * 3600)))):
            with self.subTest(reason):
                self.assertEqual(((400, "text/plain", "fail"),
                                  ["rejected " + reason]),
                                 self.send("ali", {}, sent))
        self.assertEqual(("pending", 0, 0), self.state())
        self.assertEqual((ALIPAY_OK, ["applied"]), self.send("ali", {}, body))

    # ---- 18: a key that is not known yet ----

    def test_unknown_serial(self):
        number = self.begin("wx")
        sent = n.wechatpay("TRANSACTION.SUCCESS", self.payment(number),
                           self.now, serial=n.PUBLIC_ID)
        later = ((503, "application/json", FAIL), ["rejected key_unknown"])
        self.assertEqual(later, self.send("wx", *sent))
        self.row("SELECT payorder.add_gateway_key('wx', %s, public_key => %s)",
                 n.PUBLIC_ID, n.public_key("wechatpay_public"))
        self.assertEqual(("paid", 1990, 0), self.state())
        self.assertEqual((WECHATPAY_OK, ["duplicate"]), self.send("wx", *sent))
        # both keys are good for the time of the change
        self.assertEqual((WECHATPAY_OK, ["duplicate"]), self.wechatpay(
            "TRANSACTION.SUCCESS", self.payment(number)))

    def test_unknown_certificate(self):
        number = self.begin("ali")
        body = n.alipay(self.paid(number, alipay_cert_sn="new"), signer="other")
        self.assertEqual(((503, "text/plain", "fail"),
                          ["rejected key_unknown"]), self.send("ali", {}, body))
        self.row("SELECT payorder.add_gateway_key('ali', 'new',"
                 " public_key => %s)", n.public_key("other"))
        self.assertEqual(("paid", 1990, 0), self.state())
        self.row("SELECT payorder.retire_gateway_key('ali', 'new')")

    # ---- what a stranger may send, and what only the gateway can ----

    def test_large_and_deep(self):
        deep = b"[" * 100000
        for headers, body, reason in (
                ({}, b"x" * 300000, "size"),
                ({}, deep, "header"),
                (n.wechatpay_headers(deep, self.now), deep, "body"),
                (self.sealed(b'{"mchid":' + b"[" * 60000), None, "body"),
                (self.sealed(b'{"mchid":' + b"[" * 60000 + b"]" * 60000 + b"}"),
                 None, "body"),
                (self.sealed(b"{" + b",".join(
                    b'"%d":1' % i for i in range(10000)) + b"}"), None, "body")):
            if body is None:
                headers, body = headers
            self.assertEqual(["rejected " + reason],
                             self.send("wx", headers, body)[1])
        many = b"&".join(b"f%d=" % i for i in range(100000))
        for body, reason in ((many, "size"), (many[:250000], "body"),
                             (b"%" * 200000, "body"), (b"&" * 200000, "body"),
                             (b"=" * 200000, "body"), (deep, "body"),
                             (b"sign=" + b"A" * 200000, "signature"),
                             (b"a=" + b"%26trade_no%3d" * 10000, "signature")):
            self.assertEqual(["rejected " + reason],
                             self.send("ali", {}, body)[1])

    def sealed(self, plain):
        body = n.envelope("TRANSACTION.SUCCESS", plain)
        return n.wechatpay_headers(body, self.now), body

    # ---- a database in another encoding ----

    def test_another_encoding(self):
        name = self.db.info.dbname + "_euc_cn"
        self.db.execute(f"CREATE DATABASE {name} TEMPLATE template0"
                        " ENCODING 'EUC_CN' LOCALE 'C'")
        try:
            with connect(dbname=name, client_encoding="UTF8") as connection:
                connection.execute("CREATE EXTENSION payorder")
                set_up(connection, self.secrets)
                self.in_euc_cn(connection)
        finally:
            self.db.execute(f"DROP DATABASE {name}")

    def in_euc_cn(self, connection):
        outer, type(self).db = self.db, connection
        try:
            self.row("SELECT payorder.create_order(%s, 1990, 'CNY')", self.order)
            number = self.begin("ali")
            fields = self.paid(number, charset="GBK")
            self.assertEqual((ALIPAY_OK, ["applied"]),
                             self.alipay(fields, charset="gbk"))
            self.assertEqual(("订单",), self.row(
                "SELECT body::json ->> 'subject' FROM payorder.callbacks"))
            body = n.envelope("TRANSACTION.SUCCESS", n.compact(
                self.payment(self.order)).encode(), aad="交易")
            self.assertEqual((WECHATPAY_OK, ["excess"]), self.send(
                "wx", n.wechatpay_headers(body, self.now), body))
            self.assertEqual((400, "application/json", FAIL),
                             self.send("wx", {}, body)[0])
        finally:
            type(self).db = outer


if __name__ == "__main__":
    unittest.main()
