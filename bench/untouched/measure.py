"""Times updates of payorder.orders that don't touch the state; see run.

    measure.py ROUNDS ROWS CALLS
    measure.py count                 instructions of a row, by callgrind
"""

import statistics
import sys

import psycopg

from bench import by_turns, cpu, ratio_of, row, say
from instructions import per_call

TABLES = ("payorder.orders", "free.orders")
GOAL_CLIENT = 1.10
GOAL_BULK = 1.25
TEXT, JSONB = 25, 3802
OK = (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK)


class Session:
    """A session that updates one table, and its backend's CPU time."""

    def __init__(self, table):
        self.table = table
        self.calls = 0
        self.connection = psycopg.connect(autocommit=True)
        self.libpq = self.connection.pgconn
        self.expect(self.libpq.exec_(b"LOAD 'payorder'"))
        self.expect(self.libpq.prepare(
            b"keep", f"UPDATE {table} SET attributes = $1 WHERE order_no = $2"
            .encode(), [JSONB, TEXT]))

    @staticmethod
    def expect(result):
        if result.status not in OK:
            sys.exit(result.error_message.decode())

    def cpu(self):
        return cpu(self.connection.info.backend_pid)

    def one_by_one(self, count):
        self.calls += 1
        attributes = b'{"n": %d}' % self.calls
        for number in range(1, count + 1):
            self.expect(self.libpq.exec_prepared(
                b"keep", [attributes, b"A-%09d" % number]))

    def all_at_once(self, _):
        self.calls += 1
        self.expect(self.libpq.exec_(
            f"UPDATE {self.table} SET attributes = '{{\"n\": {self.calls}}}'"
            .encode()))

    def measure(self, how, count):
        """CPU microseconds for each of count rows."""
        self.expect(self.libpq.exec_(f"VACUUM {self.table}".encode()))
        before = self.cpu()
        how(self, count)
        return (self.cpu() - before) / count


def wal_of(session, how, count):
    """Records and bytes of WAL of some updates."""
    run = session.connection.execute
    run(f"VACUUM (FREEZE) {session.table}")
    run("CHECKPOINT")
    how(session, count)     # full pages are written now
    run(f"VACUUM {session.table}")
    start = run("SELECT pg_current_wal_insert_lsn()").fetchone()
    how(session, count)
    run("SELECT pg_switch_wal()")
    return run(
        """SELECT sum(count)::bigint, sum(record_size)::bigint
           FROM pg_get_wal_stats(%s, pg_current_wal_lsn(), true)
           WHERE "resource_manager/record_type" ~ '^(Heap|Btree)/'""",
        start).fetchone()


def say_instructions():
    """Prints instructions per row, each in a statement of its own."""
    ours, free = (per_call(
        f"PREPARE k (jsonb, text) AS UPDATE {table} SET attributes = $1"
        " WHERE order_no = $2 RETURNING order_no",
        lambda n: f"EXECUTE k('{{\"n\": 1}}', 'A-{n:09d}')",
        "order_no = ", 1, table) for table in TABLES)
    say("| by a single user, instructions | | |\n|---|---|---|")
    say(f"| all triggers | {ours:,.0f} | {ours / free:.3f} |")
    say(f"| no trigger | {free:,.0f} | 1 |")


def main():
    if sys.argv[1] == "count":
        say_instructions()
        return
    rounds, rows, calls = map(int, sys.argv[1:])
    sessions = [Session(table) for table in TABLES]
    for name, how, count, goal in (
            ("by a client", Session.one_by_one, calls, GOAL_CLIENT),
            ("in bulk", Session.all_at_once, rows, GOAL_BULK)):
        taken = by_turns(
            sessions, lambda session, how=how, count=count:
            session.measure(how, count), rounds)
        row(f"orders: state not touched, {name}", ratio_of(*taken), "<=", goal,
            f"CPU of a row: {statistics.median(taken[0]):.2f} against"
            f" {statistics.median(taken[1]):.2f} us without triggers")
    for name, how, count in (("by a client", Session.one_by_one, calls),
                             ("in bulk", Session.all_at_once, rows)):
        wal = [wal_of(session, how, count) for session in sessions]
        row(f"orders: WAL, state not touched, {name}",
            max(with_it / without for with_it, without in zip(*wal)), "<=",
            1.0, f"records and bytes of {count:,} rows: {wal[1]} without,"
            f" {wal[0]} with all triggers")
    say("done")


if __name__ == "__main__":
    main()
