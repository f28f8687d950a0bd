"""Compares payorder.ingest() with baseline.ingest(), and with itself.

    measure.py check               both write the same: rows, hashes, WAL
    measure.py time ROUNDS CALLS   CPU time per call, by turns, medians
    measure.py numbers             the payment numbers, for count
    measure.py count NUMBERS       instructions per call, with callgrind

The server is the one that PG* names, loaded by load.sql; for count it is
stopped, and PGDATA is copied.  See run.
"""

import functools
import json
import statistics
import sys

import psycopg

from bench import by_turns, cpu, info, ratio_of, row, say
from instructions import per_call
from pipeline import pipelined
from rows import broken_chains, differences, say_wal, wal_of

GOAL = 2.0
GOAL_DUPLICATE = 5.0
SCHEMAS = ("payorder", "baseline")
CHECKS = 100        # orders 1 to CHECKS are for the check
TEXT, BIGINT, JSON = 25, 20, 114
OK = (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK)
PAYLOAD = '{"id": "EV-1"}'

# Tables that a call may write.
TABLES = ("callbacks", "callbacks_waiting", "attempts", "payments", "orders",
          "timers", "tasks", "task_ready", "task_keys", "events")

# Messages about one order after another; what differs from a good one.
MESSAGES = (
    {},
    {"payload": None},
    {"payload": '{"buyer": "Zoë \\u00fc", "n": [1, 2.50]}'},
    {"order_no": "{order}"},
    {"occurred_at": "2026-01-02 03:04:05.678901+00"},
    {"txn_id": 'a "quoted" \\ id ü'},
    {"source": "query"},
    {"event": "pay_part"},
    {"gateway": None}, {"txn_id": None}, {"event": None},
    {"gateway": "nobody"}, {"gateway": "none"}, {"source": "bill"},
)

# What nobody but the kernel may do, with the order that it is tried on.
FORBIDDEN = (
    "UPDATE {schema}.payments SET kept = 0, review = kept",
    "DELETE FROM {schema}.payments",
    "UPDATE {schema}.callbacks SET verdict = 'late'",
    "UPDATE {schema}.attempts SET state = 'open'",
    "UPDATE {schema}.events SET actor = 'me'",
    "DELETE FROM {schema}.events_03",
    "UPDATE {schema}.orders SET paid_amount = 0 WHERE order_no = '{order}'",
    "UPDATE {schema}.orders SET state = 'expired' WHERE order_no = '{order}'",
    "DELETE FROM {schema}.orders WHERE order_no = '{order}'",
)

RAISES = """
    CREATE FUNCTION pg_temp.no() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''not this one''; END';
    CREATE TRIGGER no BEFORE UPDATE ON {schema}.orders FOR EACH ROW
    WHEN (NEW.order_no = '{order}') EXECUTE FUNCTION pg_temp.no()"""
MEDDLES = """
    CREATE FUNCTION pg_temp.more() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN NEW.amount := NEW.amount + 1; RETURN NEW; END';
    CREATE TRIGGER more BEFORE UPDATE ON {schema}.orders FOR EACH ROW
    WHEN (NEW.order_no = '{order}') EXECUTE FUNCTION pg_temp.more()"""


def order_no(number):
    return f"A-{number:09d}"


def payment_numbers(connection):
    """(payment_no, amount) of orders 1, 2, ..., with something at 0."""
    return [None, *connection.execute(
        """SELECT payment_no, amount FROM payorder.attempts
           ORDER BY order_no COLLATE "C" """).fetchall()]


def call(connection, schema, numbers, number, message):
    """Calls one of both; its answer, or its SQLSTATE."""
    values = {"gateway": "wechat", "txn_id": f"44000{number:023d}",
              "event": "pay", "order_no": numbers[number][0],
              "amount": numbers[number][1], "currency": "CNY",
              "payload": PAYLOAD} | message
    if values["order_no"] is not None:
        values["order_no"] = values["order_no"].format(order=order_no(number))
    names = ", ".join(f"{name} => %({name})s" for name in values)
    try:
        return connection.execute(
            f"SELECT * FROM {schema}.ingest({names})", values).fetchone()
    except psycopg.Error as error:
        return error.sqlstate


def check_answers(connection, numbers):
    """Both answer alike, also to the same message again."""
    different = []
    for number, message in enumerate(MESSAGES, 1):
        for what in ("first", "again"):
            pair = [call(connection, schema, numbers, number, message)
                    for schema in SCHEMAS]
            if pair[0] != pair[1]:
                different.append(f"answers to {message} ({what}): {pair}")
    return different


def check_guards(connection):
    """Both refuse what nobody but the kernel may do."""
    different = []
    for statement in FORBIDDEN:
        states = []
        for schema in SCHEMAS:
            try:
                connection.execute(statement.format(schema=schema,
                                                    order=order_no(1)))
                states.append("done")
            except psycopg.Error as error:
                states.append(error.sqlstate)
        if states[0] != states[1] or states[0] == "done":
            different.append(f"{statement}: {states}")
    return different


def check_deferred(connection, numbers):
    """Both keep a message whose effects raise, or whose order is locked."""
    different = []
    for number, sql in ((20, RAISES), (21, MEDDLES)):
        pair = []
        for schema in SCHEMAS:
            with psycopg.connect(autocommit=True) as session:
                session.execute(sql.format(schema=schema,
                                           order=order_no(number)))
                pair.append(call(session, schema, numbers, number, {}))
        if pair[0] != pair[1] or pair[0][0] != "deferred":
            different.append(f"answers where a trigger raises: {pair}")
        for schema in SCHEMAS:      # each words its errors as it likes
            with connection.transaction():
                connection.execute(
                    "SET LOCAL session_replication_role = replica")
                connection.execute(f"""UPDATE {schema}.callbacks
                    SET error = error IS NOT NULL WHERE error IS NOT NULL""")
    pair = []
    for schema in SCHEMAS:
        with psycopg.connect() as holder:
            holder.execute(f"""SELECT FROM {schema}.orders
                WHERE order_no = '{order_no(22)}' FOR UPDATE""")
            pair.append(call(connection, schema, numbers, 22, {}))
    if pair[0] != pair[1] or pair[0][:1] != ("deferred",):
        different.append(f"answers where the order is locked: {pair}")
    for schema in SCHEMAS:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(f"""UPDATE {schema}.callbacks SET error = NULL
                WHERE order_no = '{order_no(22)}'""")
    return different


def check(connection):
    """Whether both do the same, and says where they don't."""
    numbers = payment_numbers(connection)
    problems = check_answers(connection, numbers)
    problems += check_guards(connection)
    problems += check_deferred(connection, numbers)
    wal = [wal_of(connection, [
        functools.partial(call, connection, schema, numbers, number, {})
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

    def __init__(self, schema, numbers):
        self.schema = schema
        self.numbers = numbers
        self.next = CHECKS + 1
        self.connection = psycopg.connect(autocommit=True)
        self.libpq = self.connection.pgconn
        self.expect(self.libpq.prepare(
            b"call", f"""SELECT * FROM {schema}.ingest('wechat', $1, 'pay', $2,
                $3, 'CNY', payload => $4)""".encode(),
            [TEXT, TEXT, BIGINT, JSON]))

    @staticmethod
    def expect(result):
        if result.status not in OK:
            sys.exit(result.error_message.decode())
        return result

    def cpu(self):
        return cpu(self.connection.info.backend_pid)

    def parameters(self, first, calls):
        for number in range(first, first + calls):
            payment_no, amount = self.numbers[number]
            yield [b"44000%023d" % number, payment_no.encode(),
                   b"%d" % amount, PAYLOAD.encode()]

    def check(self, result, verdict):
        if result.get_value(0, 0) != verdict:
            sys.exit(f"{self.schema}: {result.get_value(0, 0)}")

    def by_client(self, first, calls, verdict=b"applied"):
        """Calls that are sent ahead."""
        for result in pipelined(self.libpq, b"call",
                                list(self.parameters(first, calls))):
            self.check(result, verdict)

    def one_by_one(self, first, calls, verdict=b"applied"):
        """Each call waits for the answer to the one before."""
        for values in self.parameters(first, calls):
            self.check(self.expect(self.libpq.exec_prepared(b"call", values)),
                       verdict)

    def again_by_client(self, first, calls):
        """The messages before, as duplicates."""
        self.by_client(first - calls, calls, b"duplicate")

    def again_one_by_one(self, first, calls):
        self.one_by_one(first - calls, calls, b"duplicate")

    def in_statement(self, first, calls):
        result = self.expect(self.libpq.exec_(
            f"""SELECT count(*) FILTER (WHERE (r).verdict = 'applied') FROM (
                SELECT {self.schema}.ingest('wechat', '44000'
                        || lpad(right(a.order_no, 9), 23, '0'), 'pay',
                    a.payment_no, a.amount, 'CNY', payload => '{PAYLOAD}') AS r
                FROM payorder.attempts AS a
                WHERE order_no BETWEEN '{order_no(first)}'
                  AND '{order_no(first + calls - 1)}' OFFSET 0) AS x"""
            .encode()))
        if result.get_value(0, 0) != b"%d" % calls:
            sys.exit(f"{self.schema}: {result.get_value(0, 0)} applied")

    def measure(self, how, calls):
        """CPU time per call of some calls, each for the next order."""
        before = self.cpu()
        how(self, self.next, calls)
        taken = (self.cpu() - before) / calls
        if how not in (Caller.again_by_client, Caller.again_one_by_one):
            self.next += calls
        return taken


def median(values):
    return statistics.median(values)


def take_time(rounds, calls):
    """Prints the medians, and the rows of bench/run."""
    with psycopg.connect(autocommit=True) as connection:
        numbers = payment_numbers(connection)
    ours, base = (Caller(schema, numbers) for schema in SCHEMAS)
    say(f"{rounds} rounds of {calls} calls each, CPU microseconds per call,"
        " median (smallest)\n")
    say("| called | payorder | baseline | ratio |\n|---|---|---|---|")
    for name, how in (("by a client, sent ahead", Caller.by_client),
                      ("by a client, one by one", Caller.one_by_one),
                      ("within one statement", Caller.in_statement)):
        taken = by_turns((ours, base),
                         lambda caller, how=how: caller.measure(how, calls),
                         rounds)
        ratio = ratio_of(taken[1], taken[0])
        say(f"| {name} | {median(taken[0]):.1f} ({min(taken[0]):.1f})"
            f" | {median(taken[1]):.1f} ({min(taken[1]):.1f})"
            f" | {ratio:.2f} |")
        if how is Caller.by_client:
            row("ingest, server CPU, against PL/pgSQL", ratio, ">=", GOAL,
                f"{median(taken[0]):.1f} against {median(taken[1]):.1f} us"
                " per callback, sent ahead")
        elif how is Caller.one_by_one:
            info("the same, one by one", f"{ratio:.3f}", "-",
                 f"{median(taken[0]):.1f} against {median(taken[1]):.1f} us,"
                 " with the waking of the server for each")
    take_duplicates(ours, rounds, calls)


def take_duplicates(ours, rounds, calls):
    for how in ((Caller.by_client, Caller.again_by_client),
                (Caller.one_by_one, Caller.again_one_by_one)):
        first, again = by_turns(how, lambda how: ours.measure(how, calls),
                                rounds)
        ratio = ratio_of(first, again)
        detail = f"{median(again):.1f} against {median(first):.1f} us"
        if how[0] is Caller.by_client:
            row("duplicate, server CPU, against the first", ratio, ">=",
                GOAL_DUPLICATE, f"{detail}, sent ahead")
        else:
            info("the same, one by one", f"{ratio:.3f}", "-",
                 f"{detail}, with the waking of the server for each")


def duplicate_writes(connection):
    """Bytes of WAL of a duplicate after VACUUM, and the number that its
    transaction has got."""
    numbers = payment_numbers(connection)
    payment_no, amount = numbers[CHECKS]
    text = f"""SELECT verdict FROM payorder.ingest('wechat',
        '44000{CHECKS:023d}', 'pay', '{payment_no}', {amount}, 'CNY',
        payload => '{PAYLOAD}')"""
    connection.execute("VACUUM")
    for _ in range(10):
        verdict, = connection.execute(text).fetchone()
    if verdict != "duplicate":
        sys.exit(f"not a duplicate: {verdict}")
    plan, = connection.execute(
        f"EXPLAIN (ANALYZE, WAL, FORMAT JSON) {text}").fetchone()
    plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    with connection.transaction():
        connection.execute(text)
        xid, = connection.execute(
            "SELECT pg_current_xact_id_if_assigned()::text").fetchone()
    return plan["WAL Records"], plan["WAL Bytes"], xid


def check_duplicate(connection):
    records, size, xid = duplicate_writes(connection)
    row("duplicate, bytes of WAL", size, "<=", 0, f"EXPLAIN (WAL) after"
        f" VACUUM and warm-up: {records} records")
    row("duplicate, transaction numbers taken", int(xid is not None), "<=", 0,
        f"pg_current_xact_id_if_assigned(): {xid}")


def instructions_of(schema, txn_id, answer, name, numbers):
    """Instructions of a call about order after order of `numbers`."""
    return per_call(
        f"PREPARE c (text, text, bigint) AS SELECT {schema}.ingest('wechat',"
        f" $1, 'pay', $2, $3, 'CNY', payload => '{PAYLOAD}')",
        lambda n: f"EXECUTE c('{txn_id % numbers(n)[0]}', '{numbers(n)[1]}',"
                  f" {numbers(n)[2]})", f'"({answer},', 0, name)


def count(numbers):
    """Prints instructions per call."""
    first, base = (instructions_of(
        schema, "44000%023d", "applied", schema,
        lambda n: (CHECKS + 1 + n, *numbers[CHECKS + 1 + n]))
        for schema in SCHEMAS)
    # the last orders were paid by load_payorder.sql
    again = instructions_of(
        "payorder", "42000%023d", "duplicate", "duplicate",
        lambda n: (len(numbers) - 1 - n, *numbers[len(numbers) - 1 - n]))
    say("| by a single user, instructions | | |\n|---|---|---|")
    say(f"| ingest | {first:,.0f} | 1 |")
    say(f"| baseline | {base:,.0f} | {base / first:.2f} |")
    say(f"| duplicate | {again:,.0f} | {again / first:.3f} |")


def main():
    what = sys.argv[1]
    if what == "count":
        with open(sys.argv[2], encoding="utf-8") as file:
            count(json.load(file))
        return
    if what == "time":
        take_time(int(sys.argv[2]), int(sys.argv[3]))
        return
    with psycopg.connect(autocommit=True) as connection:
        if what == "numbers":
            json.dump(payment_numbers(connection), sys.stdout)
        elif check(connection):
            check_duplicate(connection)
        else:
            sys.exit(1)


if __name__ == "__main__":
    main()
