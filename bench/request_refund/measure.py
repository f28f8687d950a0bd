"""Compares payorder.request_refund() with baseline.request_refund().

    measure.py check               both write the same: rows, hashes, WAL
    measure.py time ROUNDS CALLS   CPU time per call, by turns, medians
    measure.py count               instructions per call, with callgrind

The server is the one that PG* names, loaded by load.sql; for count it is
stopped, and PGDATA is copied.  See run.
"""

import hashlib
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
from datetime import datetime, timezone

import psycopg

from bench import cpu, row, say

GOAL = 1.5
SCHEMAS = ("payorder", "baseline")
FUNCTION = "request_refund"
CHECKS = 100        # orders 1 to CHECKS are for the check, twice that are left
TEXT, BIGINT = 25, 20

# Tables that a call may write, and what in them is no fact of the call: times
# of the clock, numbers of sequences and of the transaction.
TABLES = ("orders", "payments", "refunds", "tasks", "task_ready", "task_keys",
          "task_finished", "timers", "refund_hours", "events")
NO_FACTS = {"id", "txid", "task_id", "at", "hash", "updated_at", "created_at",
            "requested_at", "asked_at", "run_at", "finished_at", "due_at",
            "hour_began_at"}

# Requests of one order after another; what differs from a good one.
REQUESTS = (
    {"amount": 500, "reason": "scratched"},
    {},                                                 # all of it
    {"amount": 1, "reason": 'a "quoted" \\ reason\tü'},
    {"amount": 700, "payment": "{txn}", "currency": "CNY",
     "gateway": "wechat", "actor": "support:7"},
    {"amount": 0}, {"amount": -5}, {"amount": 99999999},
    {"amount": 500, "currency": "USD"}, {"amount": 500, "payment": "none"},
    {"amount": 500, "gateway": "none"}, {"refund_no": "short"},
    {"refund_no": None}, {"order_no": "nobody"}, {"order_no": None},
)

# Situations that take more to come about than a request; made in both with
# triggers off, then followed by a request of their order.
SITUATIONS = (
    ("a refund is stuck", {"amount": 100}, """
        INSERT INTO {schema}.refunds (refund_no, gateway, txn_id, order_no,
            amount, currency, cause, state, from_kept, actor, requested_at)
        VALUES ('STUCK{number}', 'wechat', '{txn}', '{order}', 100, 'CNY',
            'order', 'stuck', 100, 'shop', now());
        UPDATE {schema}.payments SET kept = kept - 100, "returning" = 100
        WHERE order_no = '{order}'"""),
    ("owed, with a review that ends", {"amount": 400}, """
        UPDATE {schema}.payments SET kept = kept - 300, owed = 300
        WHERE order_no = '{order}';
        WITH t AS (INSERT INTO {schema}.tasks (kind, order_no, gateway,
            dedup_key, payload)
            VALUES ('review', '{order}', 'wechat',
                'review:owed:wechat:{txn}', '{{}}') RETURNING id),
        k AS (INSERT INTO {schema}.task_keys
            SELECT 'review:owed:wechat:{txn}', id FROM t)
        INSERT INTO {schema}.task_ready (task_id, run_at, kind, gateway)
        SELECT id, 'infinity', 'review', 'wechat' FROM t"""),
    ("owed, some of it stays so", {"amount": 200}, """
        UPDATE {schema}.payments SET kept = kept - 300, owed = 300
        WHERE order_no = '{order}';
        INSERT INTO {schema}.task_keys VALUES ('review:owed:wechat:{txn}', 0)
        """),
    ("owed, but held", {}, """
        UPDATE {schema}.payments SET kept = kept - 300, owed = 300
        WHERE order_no = '{order}';
        INSERT INTO {schema}.refunds (refund_no, gateway, txn_id, order_no,
            amount, currency, cause, state, from_owed, actor, requested_at)
        VALUES ('HELD{number}', 'wechat', '{txn}', '{order}', 300, 'CNY',
            'late', 'held', 300, 'payorder', now())"""),
    ("several payments, none named", {"amount": 100}, """
        INSERT INTO {schema}.payments (gateway, txn_id, order_no, disposition,
            amount, currency, kept, received_at)
        VALUES ('wechat', 'other{number}', '{order}', 'order', 50, 'CNY', 50,
            now())"""),
    ("several payments, one named", {"payment": "other{number}"}, """
        INSERT INTO {schema}.payments (gateway, txn_id, order_no, disposition,
            amount, currency, kept, received_at)
        VALUES ('wechat', 'other{number}', '{order}', 'order', 50, 'CNY', 50,
            now())"""),
    ("a callback waits for the refund", {"amount": 100}, """
        INSERT INTO {schema}.callbacks_waiting (gateway, txn_id, event,
            verdict, reason, refund_no, drain_rank, arrived_at, next_at)
        VALUES ('wechat', 'w{number}', 'refund', 'parked', 'refund',
            'RF{number:09d}', 1, now(), now())"""),
    ("limits, kept", {"amount": 100}, """
        INSERT INTO {schema}.refund_limits VALUES
            ('', 'order', '1 day', 1, 60, 0.5)"""),
    ("limits, too many", {"amount": 100}, """
        INSERT INTO {schema}.refunds (refund_no, gateway, txn_id, order_no,
            amount, currency, cause, state, from_kept, actor, requested_at)
        VALUES ('DONE{number}', 'wechat', '{txn}', '{order}', 100, 'CNY',
            'order', 'succeeded', 100, 'shop', now())"""),
    ("limits, too small", {"amount": 50}, ""),
    ("limits, of another gateway", {"amount": 50}, """
        UPDATE {schema}.refund_limits SET gateway = 'none'"""),
)


def order_no(number):
    return f"A-{number:09d}"


def call(connection, schema, number, request, refund_no=None):
    """Calls one of both; its answer without times, or its SQLSTATE."""
    values = {"refund_no": refund_no or f"RF{number:09d}",
              "order_no": order_no(number)} | request
    if "payment" in values:
        values["payment"] = values["payment"].format(
            txn=f"42000{number:023d}", number=number)
    names = ", ".join(f"{name} => %({name})s" for name in values)
    sql = f"""SELECT refund_no, order_no, gateway, payment, amount, currency,
                     cause, state, succeeded_at
              FROM {schema}.{FUNCTION}({names})"""
    try:
        return connection.execute(sql, values).fetchone()
    except psycopg.Error as error:
        return error.sqlstate


def facts(connection, schema, table):
    """The rows of a table, as sorted JSON without what is no fact."""
    columns = connection.execute(
        """SELECT a.attname FROM pg_attribute AS a
           WHERE a.attrelid = %s::regclass AND a.attnum > 0
             AND NOT a.attisdropped ORDER BY a.attnum""",
        (f"{schema}.{table}",)).fetchall()
    chosen = ", ".join(f'"{name}"' for name, in columns
                       if name not in NO_FACTS)
    return connection.execute(
        f"""SELECT to_json(r)::text FROM (SELECT {chosen}
            FROM {schema}.{table}) AS r ORDER BY 1""").fetchall()


def digest_of(before, event):
    """An event's hash, as src/event.c describes it."""
    epoch = datetime(2000, 1, 1, tzinfo=timezone.utc)
    (number, seq, name, from_state, to_state, actor, source, reason, payload,
     request_id, trace, gateway, txn_id, at) = event
    past = at - epoch
    micros = (past.days * 86400 + past.seconds) * 1000000 + past.microseconds
    fields = [number.encode(), struct.pack(">q", seq)]
    fields += [text if text is None else text.encode() for text in
               (name, from_state, to_state, actor, source, reason)]
    fields += [None if payload is None
               else hashlib.sha256(payload.encode()).digest()]
    fields += [text if text is None else text.encode() for text in
               (request_id, trace, gateway, txn_id)]
    fields += [struct.pack(">q", micros)]
    data = b"\x01" + before
    for field in fields:
        data += b"\x00" if field is None else (
            b"\x01" + struct.pack(">I", len(field)) + field)
    return hashlib.sha256(data).digest()


def broken_chains(connection, schema):
    """Events of the check's orders whose number or hash is wrong."""
    broken, before, last, seq = 0, b"", None, 0
    for *event, digest in connection.execute(
            f"""SELECT order_no, seq, event, from_state, to_state, actor,
                       source, reason, payload::text, request_id, trace,
                       gateway, txn_id, at, hash
                FROM {schema}.events WHERE order_no <= %s
                ORDER BY order_no, seq""", (order_no(CHECKS),)):
        if event[0] != last:
            last, before, seq = event[0], bytes(32), 0
        seq += 1
        broken += event[1] != seq or digest != digest_of(before, event)
        before = digest
    return broken


def wal_of(connection, schema, numbers):
    """Records and bytes of WAL, without full pages, per call."""
    start = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    for number in numbers:
        call(connection, schema, number, {"amount": 500})
    connection.execute("SELECT pg_switch_wal()")
    rows = connection.execute(
        """SELECT "resource_manager/record_type", count, record_size
           FROM pg_get_wal_stats(%s, pg_current_wal_lsn(), true)
           WHERE count > 0 AND "resource_manager/record_type" !~
                 '^(XLOG|Standby)'""", start).fetchall()
    return ({name: count / len(numbers) for name, count, _ in rows},
            sum(size for _, _, size in rows) / len(numbers))


def check_answers(connection):
    """Both answer alike; the same request again changes nothing."""
    different = []
    for number, request in enumerate(REQUESTS, 1):
        answers = [call(connection, schema, number, request)
                   for schema in SCHEMAS]
        again = [call(connection, schema, number, request)
                 for schema in SCHEMAS]
        other = [call(connection, schema, number, {"amount": 77},
                      f"RF{number:09d}") for schema in SCHEMAS]
        more = [call(connection, schema, number, {"amount": 250},
                     f"RG{number:09d}") for schema in SCHEMAS]
        if isinstance(answers[0], tuple) and again != answers:
            different.append((request, "again", again))
        for what, pair in (("first", answers), ("again", again),
                           ("other content", other), ("a second", more)):
            if pair[0] != pair[1]:
                different.append((request, what, pair))
    return different


def make_situation(connection, sql, number):
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for schema in SCHEMAS:
            connection.execute(sql.format(
                schema=schema, number=number, order=order_no(number),
                txn=f"42000{number:023d}"))


def check_situations(connection):
    """Both answer alike where something stands in the way."""
    different = []
    for number, (name, request, sql) in enumerate(SITUATIONS, 20):
        make_situation(connection, sql, number)
        pair = [call(connection, schema, number, request)
                for schema in SCHEMAS]
        if pair[0] != pair[1]:
            different.append((request, name, pair))
    make_situation(connection, "DELETE FROM {schema}.refund_limits", 0)
    return different


def check(connection):
    """Stops if both don't write the same."""
    problems = [f"answers to {request} ({what}) differ: {pair}"
                for request, what, pair in (check_answers(connection) +
                                            check_situations(connection))]
    wal = [wal_of(connection, schema, range(50, CHECKS + 1))
           for schema in SCHEMAS]
    for table in TABLES:
        left, right = (facts(connection, schema, table) for schema in SCHEMAS)
        if left != right:
            odd = sorted(set(left) ^ set(right))[:2]
            problems.append(f"rows of {table} differ: {odd}")
    for schema in SCHEMAS:
        broken = broken_chains(connection, schema)
        if broken:
            problems.append(f"{broken} events of {schema} break their chain")
    say("\n".join(problems) or "both gave the same answers and wrote the "
        f"same rows of {', '.join(TABLES)}; all hashes verify")
    say("\n| WAL per call | payorder | baseline |\n|---|---|---|")
    for name in sorted(wal[0][0].keys() | wal[1][0].keys()):
        counts = [records.get(name, 0) for records, _ in wal]
        say(f"| {name} | {counts[0]:.2f} | {counts[1]:.2f} |")
    say(f"| records | {sum(wal[0][0].values()):.2f}"
        f" | {sum(wal[1][0].values()):.2f} |")
    say(f"| bytes, without full pages | {wal[0][1]:.0f}"
        f" | {wal[1][1]:.0f} |\n")
    return not problems


class Caller:
    """A session that calls one of both, and its backend's CPU time."""

    def __init__(self, schema):
        self.schema = schema
        self.next = CHECKS + 1
        self.connection = psycopg.connect(autocommit=True)
        self.libpq = self.connection.pgconn
        result = self.libpq.prepare(
            b"call", f"SELECT * FROM {schema}.{FUNCTION}($1, $2, $3, $4)"
            .encode(), [TEXT, TEXT, BIGINT, TEXT])
        self.expect(result, psycopg.pq.ExecStatus.COMMAND_OK)

    @staticmethod
    def expect(result, status):
        if result.status != status:
            sys.exit(result.error_message.decode())

    def cpu(self):
        return cpu(self.connection.info.backend_pid)

    def by_client(self, first, calls):
        for number in range(first, first + calls):
            self.expect(self.libpq.exec_prepared(
                b"call", [b"RF%09d" % number, order_no(number).encode(),
                          b"500", b"scratched"]),
                psycopg.pq.ExecStatus.TUPLES_OK)

    def in_statement(self, first, calls):
        self.expect(self.libpq.exec_(
            f"""SELECT count((r).state) FROM (
                SELECT {self.schema}.{FUNCTION}(
                    'RF' || lpad(n::text, 9, '0'),
                    'A-' || lpad(n::text, 9, '0'), 500, 'scratched') AS r
                FROM generate_series({first}, {first + calls - 1}) AS n
                OFFSET 0) AS x""".encode()),
            psycopg.pq.ExecStatus.TUPLES_OK)

    def measure(self, how, calls):
        """CPU time per call of some calls, each for the next order."""
        before = self.cpu()
        how(self, self.next, calls)
        self.next += calls
        return (self.cpu() - before) / calls


def take_time(rounds, calls):
    """Prints the medians."""
    callers = [Caller(schema) for schema in SCHEMAS]
    say(f"{rounds} rounds of {calls} calls each, CPU microseconds per call,"
        " median (smallest)\n")
    say("| called | payorder | baseline | ratio |\n|---|---|---|---|")
    for name, how in (("by a client", Caller.by_client),
                      ("within one statement", Caller.in_statement)):
        times = {caller: [] for caller in callers}
        for turn in range(rounds + 1):
            for caller in callers if turn % 2 else reversed(callers):
                times[caller].append(caller.measure(how, calls))
        ours, base = ([*times[caller][1:]] for caller in callers)
        ratio = statistics.median(base) / statistics.median(ours)
        if how is Caller.by_client:
            row("request_refund, server CPU, against PL/pgSQL", ratio,
                ">=", GOAL, f"{statistics.median(ours):.1f} against"
                f" {statistics.median(base):.1f} us per call")
        say(f"| {name} | {statistics.median(ours):.1f} ({min(ours):.1f})"
            f" | {statistics.median(base):.1f} ({min(base):.1f})"
            f" | {ratio:.2f} |")


def instructions(schema, first, calls):
    """Instructions of a single-user session that does some calls."""
    data, profile = (f"{os.environ['TMPDIR']}/{name}"
                     for name in ("counted", "callgrind.out"))
    shutil.copytree(os.environ["PGDATA"], data, dirs_exist_ok=False)
    # the first calls make plans, and choose those that are kept
    numbers = [*range(first, first + 12), *range(first + 50,
                                                 first + 50 + calls)]
    script = "".join(
        f"SELECT {schema}.{FUNCTION}('RF{n:09d}', '{order_no(n)}', 500,"
        f" 'scratched')\n" for n in numbers)
    bindir = subprocess.run([os.environ["PG_CONFIG"], "--bindir"], text=True,
                            check=True, capture_output=True).stdout.strip()
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}",
         f"{bindir}/postgres", "--single", "-D", data, "postgres"],
        input=script, text=True, check=True, capture_output=True)
    shutil.rmtree(data)
    if ran.stdout.count(f"{FUNCTION} = ") != len(numbers):
        sys.exit(ran.stdout + ran.stderr)
    with open(profile, encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)", file.read(), re.M)[1])


def count():
    """Prints instructions per call: of 300 calls less those of 100."""
    per_call = [(instructions(schema, CHECKS + 1, 300) -
                 instructions(schema, CHECKS + 1, 100)) / 200
                for schema in SCHEMAS]
    say("| called | payorder | baseline | ratio |\n|---|---|---|---|")
    say(f"| by a single user, instructions | {per_call[0]:,.0f}"
        f" | {per_call[1]:,.0f} | {per_call[1] / per_call[0]:.2f} |")


def main():
    if sys.argv[1:2] == ["count"]:
        count()
    elif sys.argv[1:2] == ["time"]:
        take_time(int(sys.argv[2]), int(sys.argv[3]))
    else:
        with psycopg.connect(autocommit=True) as connection:
            if not check(connection):
                sys.exit(1)


if __name__ == "__main__":
    main()
