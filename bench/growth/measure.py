"""Times calls beside more and more orders; see run.

    measure.py ROUNDS SIZE...
"""

import statistics
import sys

import psycopg

import history
from bench import cpu, ratio_of, row, say

CALLS = 200
DUE = 1000
SWEEP = "sweep of 1,000"
CLAIMS, BATCH = 10, 50
FLAT = 1.2
SWEEP_FROM, SWEEP_TO = 100_000, 10_000_000
OK = (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK)
SETTING_UP = ("SELECT payorder.define_task_kind('mail')",)


class Shop:
    """A session in one database, and what it calls there."""

    def __init__(self, size):
        self.size = size
        self.calls = 0
        self.swept = 0
        database = f"orders_{size}"
        history.create(database, size, SETTING_UP)
        self.connection = psycopg.connect(dbname=database, autocommit=True)
        self.libpq = self.connection.pgconn
        for name, sql in (
                ("create", "SELECT payorder.create_order($1, 1990, 'CNY')"),
                ("ingest", "SELECT verdict FROM payorder.ingest('till', $1,"
                 " 'pay', $2, 1990, 'CNY', payload => '{\"id\": \"EV-1\"}')"),
                ("claim", "SELECT task, token, payload FROM"
                 " payorder.claim(max_tasks => $1)"),
                ("sweep", "SELECT timers, failed, more"
                 " FROM payorder.sweep($1, $2)")):
            self.expect(self.libpq.prepare(name.encode(), sql.encode()))

    @staticmethod
    def expect(result):
        if result.status not in OK:
            sys.exit(result.error_message.decode())
        return result

    def call(self, name, *values):
        return self.expect(self.libpq.exec_prepared(
            name.encode(), [str(value).encode() for value in values]))

    def measure(self, name, calls):
        """CPU microseconds a call, of a list of calls."""
        pid = self.connection.info.backend_pid
        before = cpu(pid)
        for values in calls:
            result = self.call(name, *values)
        self.last = [result.get_value(0, column)
                     for column in range(result.nfields)]
        return (cpu(pid) - before) / len(calls)

    def create_and_pay(self):
        numbers = [f"N-{self.calls + i:010}" for i in range(CALLS)]
        self.calls += CALLS
        create = self.measure("create", [(number,) for number in numbers])
        attempts = self.connection.execute(
            "SELECT (payorder.begin_payment(n, 'till')).payment_no"
            " FROM unnest(%s::text[]) AS n", [numbers]).fetchall()
        ingest = self.measure("ingest", [(f"42{payment_no}", payment_no)
                                         for payment_no, in attempts])
        if self.last != [b"applied"]:
            sys.exit(f"ingest said {self.last}")
        return {"create_order": create, "ingest": ingest}

    def claim(self):
        self.connection.execute(
            "SELECT count(payorder.enqueue('mail', payload => '{\"n\": 1}'))"
            " FROM generate_series(1, %s)", [CLAIMS * BATCH])
        taken = self.measure("claim", [(BATCH,)] * CLAIMS)
        done = self.connection.execute(
            "SELECT count(*) FROM (SELECT payorder.complete(task_id, token)"
            " FROM payorder.task_leases OFFSET 0) AS x").fetchone()
        left = self.connection.execute(
            "SELECT count(*) FROM payorder.task_leases").fetchone()
        if done is None or left != (0,):
            sys.exit(f"{left[0]} tasks are left")
        return {"claim of 50": taken}

    def sweep(self):
        """
        Makes the next 1,000 timers due, by saying that it is so late; those of
        the orders just created would be due before.
        """
        self.connection.execute(
            "DELETE FROM payorder.timers"
            " WHERE due_at < clock_timestamp() + interval '1 day'")
        # reads past what is deleted, so that the next one need not
        self.connection.execute("SELECT min(due_at) FROM payorder.timers")
        self.swept += DUE
        at = history.due(self.swept, self.size)
        taken = self.measure("sweep", [(DUE, at.isoformat())])
        if int(self.last[0]) != DUE or self.last[1] != b"0":
            sys.exit(f"sweep fired {self.last}")
        return {SWEEP: taken}

    def tidy(self):
        self.connection.execute("VACUUM payorder.task_ready,"
                                " payorder.task_leases")
        return {}


STEPS = (Shop.create_and_pay, Shop.claim, Shop.sweep, Shop.tidy)


def one_round(shops, turn):
    """
    What each shop's calls took.  Step by step by turns, since what else the
    machine does comes and goes.
    """
    taken = [{} for _ in shops]
    for step in STEPS:
        for place in range(len(shops)):
            which = (turn + place) % len(shops)
            taken[which].update(step(shops[which]))
    return taken


def main():
    rounds, *sizes = map(int, sys.argv[1:])
    shops = [Shop(size) for size in sizes]
    shops[0].connection.execute("CHECKPOINT")
    one_round(shops, 0)     # to warm up
    taken = [one_round(shops, turn) for turn in range(rounds)]
    names = list(taken[0][0])
    columns = {name: [[one[number][name] for one in taken]
                      for number in range(len(sizes))] for name in names}
    medians = {name: [statistics.median(column) for column in columns[name]]
               for name in names}
    for number, size in enumerate(sizes):
        say(f"{size:>12,} orders: " + ", ".join(
            f"{name} {medians[name][number]:,.1f} us" for name in names))
        print(size, *(ratio_of(columns[name][number], columns[name][0])
                      for name in names))
    for name in names:
        row(f"{name}, CPU beside {sizes[-1]:,} orders against {sizes[0]:,}",
            ratio_of(columns[name][-1], columns[name][0]), "<=", FLAT,
            "us: " + ", ".join(f"{value:,.1f}" for value in medians[name]))
    low, high = 0, -1
    if SWEEP_FROM in sizes and SWEEP_TO in sizes:
        low, high = sizes.index(SWEEP_FROM), sizes.index(SWEEP_TO)
    row(f"sweep with {DUE:,} due of {sizes[high]:,} orders against"
        f" {sizes[low]:,}", ratio_of(columns[SWEEP][high],
                                     columns[SWEEP][low]), "<=", FLAT,
        f"{medians[SWEEP][high] / 1e3:.1f} against"
        f" {medians[SWEEP][low] / 1e3:.1f} ms of CPU")


if __name__ == "__main__":
    main()
