"""Compares ingest_http() with ingest(), and its cryptography with OpenSSL's.

    measure.py time ROUNDS CALLS        CPU time per call, by turns, medians
    measure.py sign FILE                messages that are signed, for count
    measure.py count FILE PRIMITIVE     instructions, with callgrind

The server is the one that PG* names, loaded by load.sql; for count it is stopped.
See run.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time

import psycopg

import signing
from bench import by_turns, cpu, info, ratio_of, row, say
from instructions import per_call
from keyring import Keyring
from pipeline import pipelined
from profile import inclusive

TEXT, BIGINT, JSON, BYTEA, JSONB = 25, 20, 114, 17, 3802
GOALS = {"stripe": 1.5, "wechat": 2.0}
CRYPTO = 1.3
# of crypto.c, what a message of each asks for; and the primitive
CALLS = {"stripe": (("payorder_hmac_sha256", "hmac"),),
         "wechat": (("payorder_rsa_sha256_verify", "rsa"),
                    ("payorder_aes256_gcm_decrypt", "gcm"))}
KEY = "test/sim/keys/wechatpay_platform.pem"     # of 2048 bits
COUNTED = 320       # orders of each gateway and way that count() pays
WIDE = "366 days"   # callgrind is slow, and messages are signed long before


def ask(connection, sql, params=()):
    cursor = connection.execute(sql, params)
    return cursor.fetchall() if cursor.description else []


def accounts(connection):
    keys = Keyring(lambda *call: ask(connection, *call), "bench-")
    return {"stripe": keys.stripe("stripe", time_window=WIDE),
            "wechat": keys.wechatpay("wechat", time_window=WIDE)}


def attempts(connection, gateway, first, count):
    """Payment numbers and amounts of orders that are to be paid there."""
    return ask(connection, """
        SELECT a.payment_no, o.amount FROM (
            SELECT order_no, amount FROM payorder.orders
            ORDER BY order_no OFFSET %s LIMIT %s) AS o,
            LATERAL payorder.begin_payment(o.order_no, %s) AS a""",
               (first, count, gateway))


def txn_id(gateway, payment_no):
    number = int.from_bytes(payment_no.encode()[-10:], "big") % 10 ** 22
    return f"pi_3{number:022d}" if gateway == "stripe" else f"420000{number:022d}"


def document(gateway, payment_no, amount):
    """What the gateway says of a payment, of the size that it has there."""
    txn = txn_id(gateway, payment_no)
    if gateway == "stripe":
        return {"id": "evt_" + txn, "object": "event", "api_version": "2024-06-20",
                "created": 1700000000, "type": "payment_intent.succeeded",
                "pending_webhooks": 1, "request": {"id": None, "idempotency_key": payment_no},
                "data": {"object": {
                    "id": txn, "object": "payment_intent", "amount": amount,
                    "amount_received": amount, "currency": "cny", "status": "succeeded",
                    "capture_method": "automatic", "confirmation_method": "automatic",
                    "created": 1700000000, "latest_charge": "ch_" + txn[3:],
                    "payment_method_types": ["card", "wechat_pay"], "livemode": False,
                    "metadata": {"payment_no": payment_no}}}}
    return {"envelope": {"id": "EV-" + txn, "create_time": "2023-11-15T06:13:20+08:00",
                         "resource_type": "encrypt-resource",
                         "event_type": "TRANSACTION.SUCCESS", "summary": "ok",
                         "resource": {"original_type": "transaction"}},
            "resource": {"transaction_id": txn, "out_trade_no": payment_no,
                         "appid": "", "mchid": "", "trade_state": "SUCCESS",
                         "trade_state_desc": "ok", "trade_type": "JSAPI",
                         "bank_type": "CMC", "attach": "",
                         "success_time": "2023-11-15T06:13:20+08:00",
                         "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
                         "amount": {"total": amount, "payer_total": amount,
                                    "currency": "CNY", "payer_currency": "CNY"}}}


class Calls:
    """One way of telling one gateway's payments."""

    def __init__(self, connection, gateway, account, way):
        self.gateway, self.account, self.way = gateway, account, way
        self.connection = connection

    def prepare(self, orders):
        """The parameters of a call for each payment."""
        calls = []
        for payment_no, amount in orders:
            said = document(self.gateway, payment_no, amount)
            if self.way == "ingest":
                payload = said if self.gateway == "stripe" else said["resource"]
                calls.append([self.gateway.encode(), txn_id(self.gateway, payment_no).encode(),
                              payment_no.encode(), b"%d" % amount, signing.dump(payload)])
            else:
                message = signing.sign(self.account, said, time.time())
                calls.append([self.gateway.encode(), json.dumps(message.headers).encode(),
                              b"\\x" + message.body.hex().encode()])
        return calls

    def run(self, calls):
        before = cpu(self.connection.info.backend_pid)
        for result in pipelined(self.connection.pgconn, self.way.encode(), calls):
            if result.get_value(0, 0) != b"applied":
                sys.exit(f"{self.gateway} {self.way}: {result.get_value(0, 0)}")
        return (cpu(self.connection.info.backend_pid) - before) / len(calls)


STATEMENTS = {
    "ingest": ("SELECT (payorder.ingest($1, $2, 'pay', $3, $4, 'CNY', payload => $5)).verdict",
               [TEXT, TEXT, TEXT, BIGINT, JSON]),
    "ingest_http": ("SELECT (payorder.ingest_http($1, $2, $3)).results[1].verdict",
                    [TEXT, JSONB, BYTEA])}


def take_time(rounds, calls):
    connection = psycopg.connect(autocommit=True)
    held = accounts(connection)
    keep(held)
    for way, (sql, types) in STATEMENTS.items():
        connection.pgconn.prepare(way.encode(), sql.encode(), types)
    place = 0
    for gateway, goal in GOALS.items():
        ways = [Calls(connection, gateway, held[gateway], way) for way in STATEMENTS]

        def measure(way):
            nonlocal place
            orders = attempts(connection, gateway, place, calls)
            place += calls
            return way.run(way.prepare(orders))

        typed, raw = by_turns(ways, measure, rounds)
        row(f"ingest_http of {gateway}, server CPU, against ingest", ratio_of(raw, typed), "<=",
            goal, f"{statistics.median(raw):.1f} against {statistics.median(typed):.1f} us,"
            " sent ahead")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def sign(path):
    """Statements that call each way, with their parameters written out."""
    connection = psycopg.connect(autocommit=True)
    (place,), = ask(connection, "SELECT count(*) FROM payorder.attempts")
    statements = {}
    held = loaded()
    for gateway in GOALS:
        for way in STATEMENTS:
            orders = attempts(connection, gateway, place, COUNTED)
            place += COUNTED
            calls = Calls(connection, gateway, held[gateway], way).prepare(orders)
            statements[f"{gateway} {way}"] = [
                f"EXECUTE c({', '.join(quoted(value.decode()) for value in call)})"
                for call in calls]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(statements, file)


def loaded():
    """The accounts that time made."""
    folder = os.environ["TMPDIR"]
    with open(f"{folder}/accounts", encoding="utf-8") as file:
        return {name: signing.Account(**{**kept, "key": kept["key"].encode(),
                                         "seal": kept["seal"].encode()})
                for name, kept in json.load(file).items()}


def keep(held):
    with open(f"{os.environ['TMPDIR']}/accounts", "w", encoding="utf-8") as file:
        json.dump({name: {**vars(account), "key": account.key.decode(),
                          "seal": account.seal.decode()}
                   for name, account in held.items()}, file)


def primitive_cost(program, kind, size):
    """Instructions of a bare primitive over so many bytes."""
    totals = []
    for times in (100, 1100):
        found = f"{os.environ['TMPDIR']}/primitive.out"
        with open(KEY, "rb") as key:
            subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={found}",
                            program, kind, str(size), str(times)], stdin=key, check=True,
                           capture_output=True)
        with open(found, encoding="utf-8") as file:
            totals.append(int(re.search(r"^totals: (\d+)", file.read(), re.M)[1]))
    return (totals[1] - totals[0]) / 1000


def count(path, program):
    with open(path, encoding="utf-8") as file:
        statements = json.load(file)
    folder = os.environ["BENCH_PROFILE"] = os.environ.get(
        "BENCH_PROFILE", os.environ["TMPDIR"])
    sizes = {"hmac": 700, "rsa": 900, "gcm": 450}
    for gateway in GOALS:
        costs = {}
        for way, (sql, types) in STATEMENTS.items():
            names = {TEXT: "text", BIGINT: "bigint", JSON: "json", BYTEA: "bytea", JSONB: "jsonb"}
            calls = statements[f"{gateway} {way}"]
            costs[way] = per_call(
                f"PREPARE c ({', '.join(names[t] for t in types)}) AS {sql}",
                lambda n, calls=calls: calls[n if n < 12 else n - 38],
                '"applied"', 0, f"{gateway}.{way}")
        say(f"{gateway}: {costs['ingest_http']:,.0f} instructions against {costs['ingest']:,.0f}")
        info(f"ingest_http of {gateway}, instructions, against ingest",
             f"{costs['ingest_http'] / costs['ingest']:.2f}", f"<= {GOALS[gateway]}",
             f"{costs['ingest_http']:,.0f} against {costs['ingest']:,.0f}")
        many, few = (inclusive(f"{folder}/callgrind.{gateway}.ingest_http.{n}")[0]
                     for n in (300, 100))
        for function, kind in CALLS[gateway]:
            ours = max((count - few.get(key, 0)) / 200 for key, count in many.items()
                       if key[0] == function)
            bare = primitive_cost(program, kind, sizes[kind])
            row(f"{kind} of a {gateway} message, instructions, against the primitive",
                ours / bare, "<=", CRYPTO,
                f"{ours:,.0f} against {bare:,.0f}, {ours / costs['ingest_http']:.1%} of the call")


def main():
    if sys.argv[1] == "time":
        take_time(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "sign":
        sign(sys.argv[2])
    else:
        count(sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
