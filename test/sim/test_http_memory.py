"""Verifying messages leaves nothing behind in a backend's memory.

VERIFICATIONS=1000000 does so many of each kind; by default some thousands, with which
a leak of 100 bytes a message would be seen.
"""

import os
import unittest

import psycopg
from psycopg.types.json import Jsonb

import signing
import simulate
from keyring import Keyring

VERIFICATIONS = int(os.environ.get("VERIFICATIONS", 12000))
WARM_UP = 3000
ALLOWED = 1024          # kB; a leak of 100 bytes a message is more
VERIFY = """
SELECT count(*) FILTER (WHERE d.event = 'pay'), count(*) FILTER (WHERE d.verdict = 'rejected')
FROM generate_series(1, %s) AS n, LATERAL (
    SELECT m.event, m.verdict
    FROM payorder.decode_http(%s, %s || jsonb_build_object('n', n::text), %s) AS m) AS d
"""


def ask(sql, params=()):
    cursor = DB.execute(sql, params)
    return cursor.fetchall() if cursor.description else []


def setUpModule():
    global DB
    DB = psycopg.connect(autocommit=True)
    DB.execute("CREATE EXTENSION IF NOT EXISTS payorder")


def tearDownModule():
    DB.close()


def anonymous():
    """kB of the backend's own memory."""
    with open(f"/proc/{DB.info.backend_pid}/status", encoding="ascii") as file:
        return int(next(line.split()[1] for line in file if line.startswith("RssAnon")))


class Memory(unittest.TestCase):
    def setUp(self):
        keys = Keyring(ask, "memory-")
        self.accounts = {
            "stripe": keys.stripe("stripe", time_window="366 days"),
            "wechat": keys.wechatpay("wechat", time_window="366 days"),
            "alipay": keys.alipay("alipay", time_window="366 days"),
            "adyen": keys.adyen("adyen")}

    def verify(self, gateway, message, count):
        """(taken, rejected) of so many verifications."""
        taken = rejected = 0
        for first in range(0, count, 1000):
            (more, less), = ask(VERIFY, (min(1000, count - first), gateway,
                                         Jsonb(message.headers), message.body))
            taken, rejected = taken + more, rejected + less
        return taken, rejected

    def test_nothing_is_left(self):
        for gateway, account in self.accounts.items():
            right = simulate.message(account, "pay", order_no="PAYNO00001")
            wrong = signing.Message(right.headers, right.body[:-1])
            for what, message, expected in (("taken", right, (1, 0)), ("rejected", wrong, (0, 1))):
                with self.subTest(gateway=gateway, message=what):
                    self.verify(gateway, message, WARM_UP)
                    before = anonymous()
                    self.assertEqual(self.verify(gateway, message, VERIFICATIONS),
                                     tuple(VERIFICATIONS * n for n in expected))
                    grown = anonymous() - before
                    print(f"{gateway} {what}: {grown} kB after {VERIFICATIONS}")
                    self.assertLess(grown, ALLOWED)


if __name__ == "__main__":
    unittest.main()
