"""Compares payorder.request_refund() with baseline.request_refund().

    measure.py check               both write the same: rows, hashes, WAL
    measure.py time ROUNDS CALLS   CPU time per call, by turns, medians
    measure.py count               instructions per call, with callgrind

The server is the one that PG* names, loaded by load.sql; for count it is
stopped, and PGDATA is copied.  See run.
"""

import functools
import statistics
import sys

import psycopg

from bench import cpu, row, say
from instructions import per_call
from rows import broken_chains, differences, say_wal, wal_of

GOAL = 1.5
SCHEMAS = ("payorder", "baseline")
FUNCTION = "request_refund"
CHECKS = 100        # orders 1 to CHECKS are for the check, twice that are left
TEXT, BIGINT = 25, 20

# Tables that a call may write.
TABLES = ("orders", "payments", "refunds", "tasks", "task_ready", "task_keys",
          "task_finished", "timers", "refund_hours", "events")

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
    wal = [wal_of(connection, [
        functools.partial(call, connection, schema, number, {"amount": 500})
        for number in range(50, CHECKS + 1)]) for schema in SCHEMAS]
    problems += differences(connection, SCHEMAS, TABLES)
    for schema in SCHEMAS:
        broken = broken_chains(connection, schema, order_no(CHECKS))
        if broken:
            problems.append(f"{broken} events of {schema} break their chain")
    say("\n".join(problems) or "both gave the same answers and wrote the "
        f"same rows of {', '.join(TABLES)}; all hashes verify")
    say_wal(*wal, SCHEMAS)
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


def count():
    """Prints instructions per call."""
    counts = [per_call(
        f"PREPARE c (text, text) AS SELECT {schema}.{FUNCTION}($1, $2, 500,"
        " 'scratched')",
        lambda n: f"EXECUTE c('RF{n:09d}', '{order_no(n)}')",
        f"{FUNCTION} = ", CHECKS + 1, schema) for schema in SCHEMAS]
    say("| called | payorder | baseline | ratio |\n|---|---|---|---|")
    say(f"| by a single user, instructions | {counts[0]:,.0f}"
        f" | {counts[1]:,.0f} | {counts[1] / counts[0]:.2f} |")


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
