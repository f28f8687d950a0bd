"""Times calls beside more and more orders; see run.

    measure.py ROUNDS SIZE...
"""

import statistics
import sys

import psycopg

import history
from bench import cpu, row, say

CALLS = 200
DUE = 1000
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
        return create, ingest

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
        return taken

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
        return taken

    def round(self):
        create, ingest = self.create_and_pay()
        taken = {"create_order": create, "ingest": ingest,
                 "claim of 50": self.claim(), "sweep of 1,000": self.sweep()}
        self.connection.execute("VACUUM payorder.task_ready,"
                                " payorder.task_leases")
        return taken


def main():
    rounds, *sizes = map(int, sys.argv[1:])
    shops = [Shop(size) for size in sizes]
    shops[0].connection.execute("CHECKPOINT")
    for shop in shops:      # to warm up
        shop.round()
    taken = {size: [] for size in sizes}
    for turn in range(rounds):
        for place in range(len(shops)):
            shop = shops[(turn + place) % len(shops)]
            taken[shop.size].append(shop.round())
    names = list(taken[sizes[0]][0])
    medians = {name: [statistics.median(t[name] for t in taken[size])
                      for size in sizes] for name in names}
    for number, size in enumerate(sizes):
        say(f"{size:>12,} orders: " + ", ".join(
            f"{name} {medians[name][number]:,.1f} us" for name in names))
        print(size, *(medians[name][number] for name in names))
    for name, values in medians.items():
        row(f"{name}, CPU beside {sizes[-1]:,} orders against {sizes[0]:,}",
            values[-1] / values[0], "<=", FLAT,
            "us: " + ", ".join(f"{value:,.1f}" for value in values))
    low = SWEEP_FROM if SWEEP_FROM in sizes else sizes[0]
    high = SWEEP_TO if SWEEP_TO in sizes else sizes[-1]
    sweeps = dict(zip(sizes, medians["sweep of 1,000"]))
    row(f"sweep with 1,000 due of {high:,} orders against {low:,}",
        sweeps[high] / sweeps[low], "<=", FLAT,
        f"{sweeps[high] / 1e3:.1f} against {sweeps[low] / 1e3:.1f} ms of CPU")


if __name__ == "__main__":
    main()
