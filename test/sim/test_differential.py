"""The gateways' own npm packages against payorder's adapters.

A package signs random messages and payorder must read in them what was put in;
of each there is a copy with one byte changed, which payorder must refuse.
Where one of both is laxer than the other, the difference is listed below by
name, and both are really asked: a difference that goes, or a new one in
test/differential, fails the test.

    DIFFERENTIAL_SEED    another seed
    DIFFERENTIAL_COUNT   messages of each gateway (1000)
    DIFFERENTIAL_DEPS    folder with the packages (test/differential/deps)
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import psycopg

HERE = pathlib.Path(__file__).resolve().parent.parent / "differential"
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "5"))
COUNT = int(os.environ.get("DIFFERENTIAL_COUNT", "1000"))
SHOWN = 5

# accepted by the package, refused by payorder
PACKAGE_IS_LAXER = {
    "stripe": {
        "a time ten years ahead",
        "two times",
        "a time with letters after it",
        "a time with a blank before it",
        "an item with two equals signs",
        "an item without a value",
        "bytes that are not UTF-8",
        "a JSON key that is there twice",
        "an event in test mode",
        "an event of another account",
    },
    "wechatpay": {
        "a time ten years ahead",
        "a time an hour ago",
        "a signature with blanks",
        "a signature with line breaks",
        "a signature in the URL-safe alphabet",
        "a signature without padding",
        "a line break in the nonce",
        "another kind of signature announced",
        "bytes that are not UTF-8",
        "a JSON key that is there twice",
        "a JSON key that is there twice, sealed",
        "a tag of 4 bytes",
        "a nonce of 16 bytes",
        "associated data of 16 bytes",
        "another algorithm named",
        "a payment of another merchant",
        "a payment of another app",
    },
    "alipay": {
        "SHA-1, since sign_type says so",
        "sign_type signed in a notice of a trade",
        "a time ten years ahead",
        "a time a year ago",
        "a signature with blanks",
        "a signature without padding",
        "a signature in the URL-safe alphabet",
        "a form key that is there twice",
        "a value that holds another field",
        "a value that is decoded twice",
        "a bad escape",
        "an empty pair",
        "a notice for another app",
        "a notice for another seller",
        "an unknown charset",
    },
    "adyen": {
        "a signature with blanks",
        "a signature with a line break",
        "a signature without padding",
        "a signature in the URL-safe alphabet",
        "a colon in a reference",
        "fields shifted over a colon",
        "an amount with a fraction of zero",
        "an amount with an exponent",
        "a JSON key that is there twice",
        "an item of another account",
        "a message in test mode",
    },
}

# refused by the package, accepted by payorder, as the gateway sends it
PACKAGE_IS_STRICTER = {
    "stripe": set(),
    "wechatpay": set(),
    "alipay": {
        "a notice in GBK",
        "a notice in gb2312",
        "a notice in GB18030",
        "an empty value that is not signed",
    },
    "adyen": set(),
}

FACT = ("verdict", "detail", "event", "txn_id", "order_no", "amount", "currency",
        "payment_txn", "refund_no", "amount_is_total", "occurred_at")


def fact(said):
    """What a package's side put in, with all that it left out."""
    whole = dict.fromkeys(FACT) | said
    if whole["verdict"] is None and whole["amount_is_total"] is None:
        whole["amount_is_total"] = False
    return whole


class Differential(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.db = psycopg.connect(autocommit=True)
        cls.db.execute("CREATE EXTENSION IF NOT EXISTS payorder")
        cls.folder = tempfile.mkdtemp()
        cls.db.execute(f"ALTER SYSTEM SET payorder.secret_directory = '{cls.folder}'")
        cls.db.execute("SELECT pg_reload_conf()")
        cls.messages = {source: [] for source in PACKAGE_IS_LAXER}
        deps = os.environ.get("DIFFERENTIAL_DEPS") or subprocess.run(
            [HERE / "deps"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        made = subprocess.run(
            ["node", HERE / "make.mjs", deps, str(SEED), str(COUNT)],
            check=True, capture_output=True, text=True).stdout
        for line in made.splitlines():
            message = json.loads(line)
            if message["kind"] == "keys":
                cls.add_gateways(message)
            else:
                cls.messages[message["source"]].append(message)

    @classmethod
    def tearDownClass(cls):
        cls.db.execute("ALTER SYSTEM RESET payorder.secret_directory")
        cls.db.execute("SELECT pg_reload_conf()")
        cls.db.close()
        shutil.rmtree(cls.folder)

    @classmethod
    def add_gateways(cls, made):
        while cls.db.execute("SHOW payorder.secret_directory").fetchone()[0] != cls.folder:
            pass
        for name, gateway in made["gateways"].items():
            cls.db.execute("SELECT payorder.add_gateway(%s, %s, %s, %s, %s::jsonb)", (
                name, gateway["adapter"], gateway["merchant"], gateway.get("scope", ""),
                json.dumps(gateway.get("settings", {}))))
        for number, key in enumerate(made["keys"]):
            secret = None
            if "secret" in key:
                path = pathlib.Path(cls.folder, f"{made['source']}{number}")
                path.touch(0o600)
                path.write_text(key["secret"])
                secret = f"file:{path.name}"
            cls.db.execute(
                "SELECT payorder.add_gateway_key(%s, key_id => %s, purpose => %s, "
                "public_key => %s, secret => %s, valid_from => '2000-01-01')",
                (key["gateway"], key.get("id", ""), key.get("purpose", "verify"),
                 key.get("public_key"), secret))

    def decoded(self, messages):
        """What payorder says of each: its rows, as dictionaries."""
        rows = self.db.execute("""
            SELECT m.n, d.verdict, d.detail, d.event, d.txn_id, d.order_no, d.amount, d.currency,
                   d.payment_txn, d.refund_no, d.amount_is_total,
                   extract(epoch FROM d.occurred_at)::float8
            FROM unnest(%s::text[], %s::jsonb[], %s::bytea[], %s::float8[])
                 WITH ORDINALITY AS m (gateway, headers, body, at, n),
                 payorder.decode_http(m.gateway, m.headers, m.body, NULL, to_timestamp(m.at)) AS d
            ORDER BY m.n, d.number""", (
                [m["gateway"] for m in messages], [json.dumps(m["headers"]) for m in messages],
                [base64.b64decode(m["body"]) for m in messages],
                [m["at"] for m in messages])).fetchall()
        said = [[] for _ in messages]
        for number, *row in rows:
            said[number - 1].append(dict(zip(FACT, row)))
        for facts in said:
            for one in facts:
                if one["verdict"] is not None:
                    one.update(dict.fromkeys(FACT[2:]))
        return said

    def of_kind(self, source, kind):
        messages = [m for m in self.messages[source] if m["kind"] == kind]
        return list(zip(messages, self.decoded(messages)))

    def agree(self, source, kind, complaint):
        """Fails with the first messages that there is a complaint about."""
        pairs = self.of_kind(source, kind)
        wrong = [(m, said, text) for m, said in pairs if (text := complaint(m, said))]
        if wrong:
            self.fail(f"{source}, {kind}: {len(wrong)} of {len(pairs)} differ "
                      f"(seed {SEED})\n" + "\n".join(
                          f"{m.get('number', '')} {m.get('what', '')}: {text}\n"
                          f"  headers  {json.dumps(m['headers'])}\n"
                          f"  body     {base64.b64decode(m['body'])!r}\n"
                          f"  at       {m['at']}\n"
                          f"  payorder {said}\n"
                          f"  package  {m['package']} {m.get('facts', '')}"
                          for m, said, text in wrong[:SHOWN]))
        return pairs

    def test_signed_by_the_package(self):
        def complaint(message, said):
            if not message["package"]:
                return "the package refuses what it signed"
            if said != [fact(one) for one in message["facts"]]:
                return "payorder reads something else"
            return None

        for source in self.messages:
            with self.subTest(source):
                self.assertEqual(len(self.agree(source, "good", complaint)), COUNT)

    def test_one_byte_changed(self):
        def complaint(message, said):
            if message["package"]:
                return "the package accepts it: list it in lax()"
            refused = [one for one in said if one["verdict"] == "rejected"]
            if "item" in message:
                if len(refused) != 1:
                    return "payorder must refuse one item"
            elif len(said) != 1 or not refused:
                return "payorder accepts it"
            if refused[0]["detail"] not in message["reasons"]:
                return "payorder refuses it for another reason"
            return None

        for source in self.messages:
            with self.subTest(source):
                self.assertEqual(len(self.agree(source, "spoilt", complaint)), COUNT)

    def test_where_the_package_is_laxer(self):
        def complaint(message, said):
            if not message["package"]:
                return "the package refuses it too"
            if [one["verdict"] for one in said] != ["rejected"]:
                return "payorder accepts it"
            if said[0]["detail"] not in message["reasons"]:
                return "payorder refuses it for another reason"
            return None

        for source, names in PACKAGE_IS_LAXER.items():
            with self.subTest(source):
                pairs = self.agree(source, "lax", complaint)
                self.assertEqual({m["what"] for m, _ in pairs}, names)

    def test_where_the_package_is_stricter(self):
        def complaint(message, said):
            if message["package"]:
                return "the package accepts it too"
            if said != [fact(one) for one in message["facts"]]:
                return "payorder reads something else"
            return None

        for source, names in PACKAGE_IS_STRICTER.items():
            with self.subTest(source):
                pairs = self.agree(source, "strict", complaint)
                self.assertEqual({m["what"] for m, _ in pairs}, names)


if __name__ == "__main__":
    unittest.main()
