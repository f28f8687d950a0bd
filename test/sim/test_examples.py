"""The receivers in examples/, by real HTTP requests.

Each gives the gateway the acknowledgement that ingest_http() says, and gives
it after the commit: with the backend killed between the call and the commit,
or the commit refused, the gateway sees no success, and its repeat does.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from dataclasses import replace

import psycopg

import signing
import simulate
from keyring import Keyring

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "examples")
LOCK = 4711
PATIENCE = 60

# What the shop has at the commit: it can be slow, or refuse.
SHOP = ("""
CREATE SCHEMA shop
""", """
CREATE TABLE shop.refuses (yes boolean)
""", f"""
CREATE FUNCTION shop.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    IF EXISTS (SELECT FROM shop.refuses) THEN
        RAISE 'the shop refuses';
    END IF;
    RETURN NULL;
END
$$
""", """
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON payorder.payments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION shop.at_commit()
""")
AT_COMMIT = f"""
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted
"""


def setUpModule():
    global DB, FOLDER, KEYS, ACCOUNTS
    FOLDER = tempfile.mkdtemp(prefix="examples.")
    DB = psycopg.connect(autocommit=True)
    DB.execute("CREATE EXTENSION IF NOT EXISTS payorder")
    for statement in SHOP:
        DB.execute(statement)
    KEYS = Keyring(ask, "examples-")
    ACCOUNTS = {"card": KEYS.stripe("card"), "wechat": KEYS.wechatpay("wechat")}


def tearDownModule():
    DB.close()
    shutil.rmtree(FOLDER)


def ask(sql, params=()):
    cursor = DB.execute(sql, params)
    return cursor.fetchall() if cursor.description else []


def until(condition, complaint):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(complaint)
        time.sleep(0.02)
    return found


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Receivers:
    """What every receiver must do; command() starts it."""

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.log = open(os.path.join(FOLDER, cls.__name__), "wb")
        cls.process = subprocess.Popen(
            cls.command(), stdin=subprocess.DEVNULL, stderr=cls.log,
            env={**os.environ, "PORT": str(cls.port),
                 "PGAPPNAME": cls.__name__})
        until(cls.answers, f"{cls.__name__} did not start")

    @classmethod
    def answers(cls):
        try:
            socket.create_connection(("127.0.0.1", cls.port), 1).close()
            return True
        except OSError:
            if cls.process.poll() is not None:
                raise AssertionError("the receiver ended") from None
            return False

    @classmethod
    def tearDownClass(cls):
        cls.process.kill()
        cls.process.wait()
        cls.log.close()

    def setUp(self):
        self.order = f"{type(self).__name__}-{self._testMethodName}"[-60:]
        ask("SELECT payorder.create_order(%s, 1990, 'EUR')", (self.order,))

    def message(self, gateway="card", **more):
        return simulate.message(ACCOUNTS[gateway], "pay", order_no=self.order,
                                amount=1990, currency="EUR", **more)

    def post(self, sent, path="/card"):
        """(status, body); status 0: the connection broke."""
        request = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}",
                   f"Content-Length: {len(sent.body)}", "Connection: close"]
        for name, value in sent.headers.items():
            for one in value if isinstance(value, list) else [value]:
                request.append(f"{name}: {one}")
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port),
                                          PATIENCE) as sock:
                sock.sendall("\r\n".join(request).encode() + b"\r\n\r\n"
                             + sent.body)
                while more := sock.recv(65536):
                    answer += more
        except OSError:
            return 0, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head:
            return 0, b""
        if b"chunked" in head.lower():
            body = body.split(b"\r\n")[1]
        return int(head.split()[1]), body

    def paid(self):
        return ask("SELECT paid_amount FROM payorder.orders "
                   "WHERE order_no = %s", (self.order,)) == [(1990,)]

    # ---- what the gateway sees ----

    def test_success_and_repeat(self):
        sent = self.message()
        self.assertEqual(self.post(sent), (200, b""))
        self.assertTrue(self.paid())
        self.assertEqual(self.post(sent), (200, b""))
        self.assertEqual(
            ask("SELECT count(*) FROM payorder.payments WHERE order_no = %s",
                (self.order,)), [(1,)])

    def test_raw_bytes(self):
        """Blanks, line breaks and letters arrive as they were signed."""
        body = json.dumps(json.loads(self.message().body), indent=3,
                          ensure_ascii=False).replace(
                              '"order"', '"Bestellung für 王\\u00e9"')
        self.assertIn("王", body)
        body = body.replace("\n", "\r\n").encode() + b"\n"
        header = signing.stripe_header([ACCOUNTS["card"].key], body,
                                       time.time())
        self.assertEqual(
            self.post(signing.Message({"stripe-SIGNATURE": header}, body)),
            (200, b""))
        self.assertTrue(self.paid())

    def test_wechat(self):
        """Another gateway's acknowledgements: its own, also of a refusal."""
        self.assertEqual(
            self.post(self.message("wechat", fault="probe"), "/wechat"),
            (400, '{"code":"FAIL","message":"失败"}'.encode()))
        self.assertEqual(self.post(self.message("wechat"), "/wechat"),
                         (200, b""))
        self.assertTrue(self.paid())

    def test_refused(self):
        for fault in ("wrong_signature", "altered", "replayed",
                      "header_twice"):
            with self.subTest(fault):
                self.assertEqual(self.post(self.message(fault=fault)),
                                 (400, b"refused"))
        self.assertFalse(self.paid())

    def test_duplicate_headers(self):
        """One that comes twice arrives twice, whatever it says."""
        sent = self.message()
        good = sent.headers["Stripe-Signature"]
        for pair in ([good, "t=1,v1=00"], ["t=1,v1=00", good]):
            headers = {**sent.headers, "Stripe-Signature": pair}
            self.assertEqual(self.post(replace(sent, headers=headers)),
                             (400, b"refused"))
        self.assertFalse(self.paid())

    def test_wrong_address(self):
        status, _ = self.post(self.message(), "/nobody")
        self.assertGreaterEqual(status, 500)

    def test_too_large(self):
        sent = self.message()
        status, _ = self.post(replace(sent, body=sent.body + b" " * (2 << 20)))
        self.assertTrue(status == 0 or status >= 500, status)
        self.assertFalse(self.paid())

    def test_other_methods(self):
        url = f"http://127.0.0.1:{self.port}/card"
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url, timeout=PATIENCE)
        self.assertGreaterEqual(caught.exception.code, 500)

    def test_program(self):
        """test/sim/simulate_callback posts what the receiver takes."""
        command = [sys.executable, os.path.join(HERE, "simulate_callback"),
                   "--url", f"http://127.0.0.1:{self.port}/card",
                   "--adapter", "stripe", "--merchant", "acct_1Demo",
                   "--key-file", KEYS.path("card-verify"),
                   "--order", self.order, "--amount", "1990",
                   "--currency", "EUR"]
        spoilt = subprocess.run([*command, "--fault", "wrong_signature"],
                                capture_output=True, text=True, check=False)
        self.assertEqual((spoilt.returncode, spoilt.stdout),
                         (1, "400 refused\n"), spoilt.stderr)
        good = subprocess.run(command, capture_output=True, text=True,
                              check=False)
        self.assertEqual((good.returncode, good.stdout), (0, "200 \n"),
                         good.stderr)
        self.assertTrue(self.paid())

    # ---- between the call and the commit ----

    def test_killed_before_commit(self):
        """No success without the commit; the repeat has one."""
        sent, answers = self.message(), []
        with psycopg.connect() as other:
            other.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            request = threading.Thread(
                target=lambda: answers.append(self.post(sent)))
            request.start()
            (pid,), = until(lambda: ask(AT_COMMIT), "nobody came to commit")
            self.assertEqual(answers, [])       # not answered before it
            self.assertFalse(self.paid())
            ask("SELECT pg_terminate_backend(%s)", (pid,))
            request.join(PATIENCE)
        self.assertEqual(len(answers), 1, "no end of the request")
        status = answers[0][0]
        self.assertTrue(status == 0 or status >= 500, status)
        self.assertFalse(self.paid())
        self.assertEqual(
            ask("SELECT count(*) FROM payorder.callbacks WHERE reference = %s",
                (self.order,)), [(0,)])
        self.assertEqual(self.post(sent), (200, b""))
        self.assertTrue(self.paid())

    def test_refused_at_commit(self):
        sent = self.message()
        ask("INSERT INTO shop.refuses VALUES (true)")
        self.addCleanup(ask, "DELETE FROM shop.refuses")
        status, _ = self.post(sent)
        self.assertGreaterEqual(status, 500)
        self.assertFalse(self.paid())
        ask("DELETE FROM shop.refuses")
        self.assertEqual(self.post(sent), (200, b""))
        self.assertTrue(self.paid())


class Python(Receivers, unittest.TestCase):
    @classmethod
    def command(cls):
        return [sys.executable, os.path.join(EXAMPLES, "receiver.py")]


class Node(Receivers, unittest.TestCase):
    @classmethod
    def command(cls):
        """With the driver that package-lock.json names, in a folder apart."""
        folder = os.path.join(FOLDER, "node")
        os.mkdir(folder)
        for name in ("receiver.mjs", "package.json", "package-lock.json"):
            shutil.copy(os.path.join(EXAMPLES, name), folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund",
                        "--loglevel=error"], cwd=folder, check=True,
                       stdin=subprocess.DEVNULL, timeout=600)
        return ["node", os.path.join(folder, "receiver.mjs")]


class Postgrest(unittest.TestCase):
    """The function of postgrest.md, called as PostgREST calls it."""

    def setUp(self):
        with open(os.path.join(EXAMPLES, "postgrest.md"),
                  encoding="utf-8") as file:
            ask(file.read().split("```sql\n")[1].split("```")[0])
        self.addCleanup(ask, "DROP SCHEMA api CASCADE")

    def call(self, order_no, **more):
        """(status, headers, body)"""
        sent = simulate.message(ACCOUNTS["card"], "pay", order_no=order_no,
                                amount=1990, currency="EUR", **more)
        headers = {name.lower(): value
                   for name, value in sent.headers.items()}
        headers.update({"x-gateway": "card", "x-query": ""})
        with DB.transaction():
            ask("SELECT set_config('request.headers', %s, true)",
                (json.dumps(headers),))
            (body,), = ask("SELECT api.callback(%s)", (sent.body,))
            (status, set_headers), = ask(
                "SELECT current_setting('response.status'), "
                "current_setting('response.headers')::json")
        return status, set_headers, bytes(body)

    def test_callback(self):
        ask("SELECT payorder.create_order('postgrest', 1990, 'EUR')")
        plain = [{"Content-Type": "text/plain"}]
        self.assertEqual(self.call("postgrest", fault="altered"),
                         ("400", plain, b"refused"))
        self.assertEqual(self.call("postgrest"), ("200", plain, b""))
        self.assertEqual(
            ask("SELECT paid_amount FROM payorder.orders "
                "WHERE order_no = 'postgrest'"), [(1990,)])


class Length(unittest.TestCase):
    def test_forty_lines(self):
        for name in ("receiver.py", "receiver.mjs"):
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
                self.assertLessEqual(len(file.readlines()), 40, name)
