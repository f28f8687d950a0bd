"""Times updates of tables under guard(); see run.

    measure.py ROUNDS ROWS CALLS
"""

import statistics
import sys

import psycopg

from bench import cpu, info, row, say
from pipeline import pipelined

TABLES = ("free", "guarded", "looked_up")
GOAL_TRANSITION = 1 / 8
GOAL_CLIENT = 1.10
GOAL_BULK = 1.25
CLIENT_TURNS, BULK_TURNS = 12, 2    # even, since states go to and fro
TEXT, BIGINT = 25, 20
OK, TUPLES = (psycopg.pq.ExecStatus.COMMAND_OK,
              psycopg.pq.ExecStatus.TUPLES_OK)


class Session:
    """A session that updates one table, and its backend's CPU time."""

    def __init__(self, table):
        self.table = table
        self.connection = psycopg.connect(autocommit=True)
        self.libpq = self.connection.pgconn
        self.prepare(b"move", f"UPDATE {table} SET state = $1, n = n + 1"
                     " WHERE id = $2", [TEXT, BIGINT])
        self.prepare(b"keep", f"UPDATE {table} SET n = n + 1 WHERE id = $1",
                     [BIGINT])
        self.state = "new"

    def prepare(self, name, sql, types):
        self.expect(self.libpq.prepare(name, sql.encode(), types))

    @staticmethod
    def expect(result):
        if result.status not in (OK, TUPLES):
            sys.exit(result.error_message.decode())

    def cpu(self):
        return cpu(self.connection.info.backend_pid)

    def other_state(self):
        self.state = "assigned" if self.state == "new" else "new"
        return self.state

    def move_ahead(self, calls):
        state = self.other_state().encode()
        pipelined(self.libpq, b"move",
                  [[state, b"%d" % number] for number in range(1, calls + 1)])

    def keep_ahead(self, calls):
        pipelined(self.libpq, b"keep",
                  [[b"%d" % number] for number in range(1, calls + 1)])

    def move_one_by_one(self, calls):
        state = self.other_state().encode()
        for number in range(1, calls + 1):
            self.expect(self.libpq.exec_prepared(
                b"move", [state, b"%d" % number]))

    def keep_one_by_one(self, calls):
        for number in range(1, calls + 1):
            self.expect(self.libpq.exec_prepared(b"keep", [b"%d" % number]))

    def move_all(self, rows):
        self.expect(self.libpq.exec_(
            f"UPDATE {self.table} SET state = '{self.other_state()}',"
            " n = n + 1".encode()))

    def keep_all(self, rows):
        self.expect(self.libpq.exec_(
            f"UPDATE {self.table} SET n = n + 1".encode()))

    def vacuum(self):
        self.expect(self.libpq.exec_(f"VACUUM {self.table}".encode()))

    def measure(self, how, count):
        """CPU microseconds for each of count rows."""
        before = self.cpu()
        how(self, count)
        return (self.cpu() - before) / count


def take_times(sessions, how, rounds, count, turns):
    """CPU time of a row without a trigger, and what each trigger adds to it.

    Each round is of several turns of all tables, in another order each, and
    what is added is the median of the differences within a turn: what else the
    machine does slows down all three.
    """
    times = []
    for _ in range(rounds):
        for session in sessions:
            session.vacuum()
            session.measure(how, count)     # to warm up
        for turn in range(turns):
            order = sessions[turn % 3:] + sessions[:turn % 3]
            taken = {session.table: session.measure(how, count)
                     for session in order}
            times.append([taken[table] for table in TABLES])
    free = statistics.median(time[0] for time in times)
    return (free, statistics.median(time[1] - time[0] for time in times),
            statistics.median(time[2] - time[0] for time in times))


def wal_of(session, how, count):
    """Records of WAL of some updates."""
    session.connection.execute(f"VACUUM (FREEZE) {session.table}")
    session.connection.execute("CHECKPOINT")
    how(session, count)     # full pages are written now
    session.connection.execute(f"VACUUM {session.table}")
    start = session.connection.execute(
        "SELECT pg_current_wal_insert_lsn()").fetchone()
    how(session, count)
    session.connection.execute("SELECT pg_switch_wal()")
    return session.connection.execute(
        """SELECT sum(count)::bigint, sum(record_size)::bigint
           FROM pg_get_wal_stats(%s, pg_current_wal_lsn(), true)
           WHERE "resource_manager/record_type" ~ '^(Heap|Btree)/'""",
        start).fetchone()


def main():
    rounds, rows, calls = map(int, sys.argv[1:])
    sessions = [Session(table) for table in TABLES]
    say(f"{rounds} rounds of {CLIENT_TURNS} turns of {calls} calls, or of"
        f" {BULK_TURNS} statements for {rows:,} rows; CPU microseconds a row,"
        " medians\n")
    say("| UPDATE | no trigger | guard() adds | PL/pgSQL adds | ratio"
        " | goal |")
    say("|---|---|---|---|---|---|")
    for name, how, count, turns, goal, of_all in (
            ("legal transition, by a client", Session.move_ahead, calls,
             CLIENT_TURNS, GOAL_TRANSITION, False),
            ("legal transition, one by one", Session.move_one_by_one, calls,
             CLIENT_TURNS, None, False),
            ("legal transition, in bulk", Session.move_all, rows, BULK_TURNS,
             GOAL_TRANSITION, False),
            ("state not touched, by a client", Session.keep_ahead, calls,
             CLIENT_TURNS, GOAL_CLIENT, True),
            ("state not touched, one by one", Session.keep_one_by_one, calls,
             CLIENT_TURNS, None, True),
            ("state not touched, in bulk", Session.keep_all, rows, BULK_TURNS,
             GOAL_BULK, True)):
        free, guarded, looked_up = take_times(sessions, how, rounds, count,
                                              turns)
        ratio = (free + guarded) / free if of_all else guarded / looked_up
        of_what = "no trigger" if of_all else "PL/pgSQL"
        detail = (f"of {of_what}; {free:.2f} us without, guard() adds"
                  f" {guarded:.2f}, PL/pgSQL {looked_up:.2f}")
        if goal is None:
            info(f"guard(): {name}", f"{ratio:.3f}", "-", detail)
        else:
            row(f"guard(): {name}", ratio, "<=", goal, detail)
        say(f"| {name} | {free:.2f} | {guarded:.2f} | {looked_up:.2f}"
            f" | {ratio:.3f} of {of_what} | {goal or '-'} |")
    wal = [wal_of(session, Session.keep_all, rows)
           for session in sessions[:2]]
    row("guard(): WAL, state not touched, in bulk",
        max(with_it / without for without, with_it in zip(*wal)), "<=", 1.0,
        f"records and bytes: {wal[0]} without, {wal[1]} with")
    say(f"\nWAL of {rows:,} updates that don't touch the state, records and"
        f" bytes: {wal[0]} without, {wal[1]} with guard():"
        f" {'equal' if wal[0] == wal[1] else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
