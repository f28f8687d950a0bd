"""simulate_callback(): each gateway's messages, right and spoilt, go through
ingest_http() with real keys, and say what they were asked to say."""

import os
import subprocess
import unittest

import psycopg

import signing
import simulate
from keyring import TILL, Keyring

HERE = os.path.dirname(os.path.abspath(__file__))

# gateway: its orders' currency
CURRENCIES = {"stripe": "JPY", "wechat": "CNY", "alipay": "CNY",
              "adyen": "EUR", "manual": "EUR", "till": "KWD"}
VERDICTS = """
SELECT array_agg(v.verdict || coalesce(': ' || v.detail, ''))
FROM payorder_sim.simulate_callback(
    gateway => %s, event => %s, order_no => %s, amount => %s, currency => %s,
    key_file => %s, key_id => %s, decrypt_file => %s, refund_no => %s,
    fault => %s) AS r, unnest(r.results) AS v
"""


def setUpModule():
    global DB, KEYS, ACCOUNTS
    DB = psycopg.connect(autocommit=True)
    DB.execute("CREATE EXTENSION IF NOT EXISTS payorder")
    subprocess.run(["psql", "-X", "-q", "-v", f"folder={HERE}", "-f",
                    os.path.join(HERE, "simulate_callback.sql")], check=True)
    KEYS = Keyring(ask, "simulate-")
    ACCOUNTS = {
        "stripe": KEYS.stripe("stripe"), "wechat": KEYS.wechatpay("wechat"),
        "alipay": KEYS.alipay("alipay", key_id="b43d1b1d"),
        "adyen": KEYS.adyen("adyen"),
        "manual": KEYS.adyen("manual", "OtherMerchant", "manual"),
        "till": KEYS.hmac("till")}


def tearDownModule():
    DB.close()


def ask(sql, params=()):
    cursor = DB.execute(sql, params)
    return cursor.fetchall() if cursor.description else []


def key_file(gateway):
    signs = KEYS.path(gateway + "-sign")
    return signs if os.path.exists(signs) else KEYS.path(gateway + "-verify")


def simulated(gateway, event, order_no, amount=1990, fault=None,
              refund_no=None):
    """The verdicts of the message's facts."""
    account = ACCOUNTS[gateway]
    (found,), = ask(VERDICTS, (
        gateway, event, order_no, amount, CURRENCIES[gateway],
        key_file(gateway), account.key_id,
        KEYS.path(gateway + "-decrypt") if account.seal else None,
        refund_no, fault))
    return found


def events(gateway):
    named = simulate.EVENTS[ACCOUNTS[gateway].adapter][1]
    return named or tuple(TILL["events"].values())


class Simulated(unittest.TestCase):
    def order(self, gateway, name):
        number = f"{gateway}_{name}"
        ask("SELECT payorder.create_order(%s, 1990, %s)",
            (number, CURRENCIES[gateway]))
        return number

    def test_pay(self):
        for gateway in ACCOUNTS:
            with self.subTest(gateway):
                number = self.order(gateway, "pay")
                self.assertEqual(simulated(gateway, "pay", number),
                                 ["applied"])
                self.assertEqual(
                    ask("SELECT paid_amount, state FROM payorder.orders "
                        "WHERE order_no = %s", (number,)), [(1990, "paid")])
                self.assertEqual(simulated(gateway, "pay", number),
                                 ["duplicate"])

    def test_wrong_amount(self):
        for gateway in ACCOUNTS:
            with self.subTest(gateway):
                number = self.order(gateway, "less")
                found, = simulated(gateway, "pay", number, amount=1980)
                self.assertTrue(found.startswith("mismatch"), found)

    def test_events(self):
        """Whatever a gateway can say is taken, and stored as that event."""
        for gateway in ACCOUNTS:
            for event in events(gateway):
                with self.subTest(f"{gateway} {event}"):
                    number = self.order(gateway, "event_" + event)
                    if event not in ("pay", "pay_failed", "pay_closed",
                                     "authorised"):
                        simulated(gateway, "pay", number)
                    found = simulated(gateway, event, number,
                                      refund_no="R" + event.upper() + gateway)
                    self.assertTrue(found)
                    for verdict in found:
                        self.assertNotRegex(verdict, "rejected|conflict")
                    if gateway == "adyen" and event == "authorised":
                        continue        # captured at once: it is the payment
                    self.assertIn((event,), ask(
                        "SELECT event FROM payorder.callbacks "
                        "WHERE gateway = %s", (gateway,)))

    def test_refund(self):
        for gateway in ACCOUNTS:
            with self.subTest(gateway):
                number = self.order(gateway, "refund")
                simulated(gateway, "pay", number)
                refund = "RF" + gateway + "000001"
                ask("SELECT payorder.request_refund(%s, %s, 500)",
                    (refund, number))
                found = simulated(gateway, "refund", number, 500,
                                  refund_no=refund)
                self.assertIn("applied", found)
                self.assertEqual(
                    ask("SELECT state FROM payorder.refunds "
                        "WHERE refund_no = %s", (refund,)), [("succeeded",)])

    def test_faults(self):
        """Each is rejected for its reason; nothing comes of it."""
        for gateway, account in ACCOUNTS.items():
            number = self.order(gateway, "faults")
            for fault in signing.faults(account):
                with self.subTest(f"{gateway} {fault}"):
                    self.assertEqual(
                        simulated(gateway, "pay", number, fault=fault),
                        ["rejected: " + signing.reason(fault)])
            self.assertEqual(
                ask("SELECT paid_amount FROM payorder.orders "
                    "WHERE order_no = %s", (number,)), [(0,)])

    def test_refusals(self):
        for args, state in (
                (("nobody", "pay", "x"), "PO010"),
                (("stripe", "authorised", "x"), "22023"),
                (("alipay", "refund_failed", "x"), "22023"),
                (("stripe", "pay", None), "22004")):
            with self.subTest(args), \
                    self.assertRaises(psycopg.Error) as caught:
                ask("SELECT payorder_sim.simulate_callback("
                    "%s, %s, %s, key_file => %s)",
                    (*args, key_file("stripe")))
            self.assertEqual(caught.exception.sqlstate, state)
        with self.assertRaises(psycopg.Error) as caught:
            ask("SELECT payorder_sim.simulate_callback("
                "'stripe', 'pay', 'x', key_file => '/nowhere')")
        self.assertEqual(caught.exception.sqlstate, "58P01")
        with self.assertRaises(psycopg.Error) as caught:
            simulated("till", "pay", "x", fault="probe")
        self.assertEqual(caught.exception.sqlstate, "22023")

    def test_not_of_the_extension(self):
        """Nobody else may use it, and it is no member of the extension."""
        self.assertEqual(ask("""
            SELECT count(*) FROM pg_depend AS d
            JOIN pg_proc AS p ON p.oid = d.objid
            WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
              AND p.pronamespace = 'payorder_sim'::regnamespace"""), [(0,)])
        ask("CREATE ROLE curious")
        self.addCleanup(ask, "DROP ROLE curious")
        self.assertEqual(ask("""
            SELECT count(*) FROM pg_proc AS p
            WHERE p.pronamespace = 'payorder_sim'::regnamespace
              AND has_function_privilege('curious', p.oid, 'EXECUTE')"""),
                         [(0,)])


if __name__ == "__main__":
    unittest.main()
