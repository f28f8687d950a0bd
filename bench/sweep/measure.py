"""Times the worker's sweeps; see run.

    measure.py DUE_AT_ONCE FIRED ROUNDS
"""

import itertools
import statistics
import sys
import time

import psycopg

import history
from bench import SMALL, cpu, info, row, say

DUE = 1000
GOAL_SNAPSHOT = 2.0
EACH = 0.02         # seconds between two payments of the client
IDLE_CALLS = 500 if not SMALL else 100
MOST_CALLS = 20000 if not SMALL else 2000


class Worker:
    """The worker of this database, and what it has to do."""

    def __init__(self, session):
        self.session = session
        self.pid = self.wait_for(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'payorder worker'")
        self.next = 1       # the order whose timer is made due next

    def wait_for(self, query, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            found = self.session.execute(query).fetchone()
            if found is not None and found[0]:
                return found[0]
            if time.monotonic() > deadline:
                sys.exit("waited too long: " + query)
            time.sleep(0.1)

    def wait_until_idle(self, seconds=60):
        """Until nothing is due: tells so by the next timer, no long scan."""
        self.wait_for("SELECT payorder.next_due() > clock_timestamp()"
                      " + interval '1 hour'", seconds)

    def arm(self, count):
        """
        Makes timers of the next orders due in two seconds, and returns that
        instant.
        """
        due, = self.session.execute("SELECT clock_timestamp() + '2 s'"
                                    ).fetchone()
        self.session.execute(
            "INSERT INTO payorder.timers (due_at, order_no, kind, state,"
            " number, entered_seq) SELECT %s, 'H-' || lpad(n::text, 10, '0'),"
            " 'state', 'shipped', 0, 1 FROM generate_series(%s::bigint, %s)"
            " AS n", [due, self.next, self.next + count - 1])
        self.next += count
        return due

    def fire(self, count):
        """CPU ms of the worker for timers that come due all at once."""
        self.wait_until_idle()
        before = cpu(self.pid)
        first = self.next
        self.arm(count)
        time.sleep(2.5)
        last = f"H-{first + count - 1:010}"
        self.wait_for("SELECT state = 'completed' FROM payorder.orders"
                      f" WHERE order_no = '{last}'")
        time.sleep(0.2)     # it ends its transaction, and looks once more
        return (cpu(self.pid) - before) / 1e3


def beside_snapshot(worker, fired, rounds):
    worker.fire(DUE)        # to warm up
    without = [worker.fire(DUE) for _ in range(rounds)]
    with psycopg.connect() as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # void timers, which the worker deletes as it does those that fire
        worker.session.execute(
            "INSERT INTO payorder.timers (due_at, order_no, kind, state,"
            " number, entered_seq) SELECT clock_timestamp() + '2 s',"
            " 'H-' || lpad(n::text, 10, '0'), 'state', 'paid', 0, 1"
            " FROM generate_series(1, %s) AS n", [fired])
        old.execute("SELECT count(*) FROM payorder.machines")
        time.sleep(3)
        # a look at all of them would cost this session much
        worker.wait_for("SELECT NOT EXISTS (SELECT FROM payorder.timers"
                        " WHERE state = 'paid')", 300)
        beside = [worker.fire(DUE) for _ in range(rounds)]
        plain = worker.session.execute(
            "EXPLAIN (ANALYZE, TIMING OFF) SELECT min(due_at)"
            " FROM payorder.timers").fetchall()[-1][0]
    ratio = statistics.median(beside) / statistics.median(without)
    row(f"sweep with {DUE:,} due while a snapshot is held and {fired:,} timers"
        " just fired, CPU of the worker", ratio, "<=", GOAL_SNAPSHOT,
        f"{statistics.median(beside):.1f} against"
        f" {statistics.median(without):.1f} ms; to read past the dead index"
        f" entries, {plain.strip().lower()}")


class Client:
    """A client that ingests payments, each in a transaction of its own."""

    def __init__(self, count):
        self.session = psycopg.connect(autocommit=True)
        self.session.execute(
            "SELECT count(payorder.create_order('N-' || n, 1990, 'CNY',"
            " pay_within => '300 days', cooling_off => '300 days'))"
            " FROM generate_series(1, %s) AS n",
            [count])
        self.numbers = iter(self.session.execute(
            "SELECT (payorder.begin_payment('N-' || n, 'till')).payment_no"
            " FROM generate_series(1, %s) AS n", [count]).fetchall())
        # their own timers are not what is measured here
        self.session.execute(
            "DELETE FROM payorder.timers WHERE due_at < now() + '1 day'")

    def ingest(self):
        """Milliseconds that a payment took."""
        number, = next(self.numbers)
        start = time.monotonic()
        verdict, = self.session.execute(
            "SELECT verdict FROM payorder.ingest('till', %s, 'pay', %s, 1990,"
            " 'CNY', payload => '{\"id\": \"EV-1\"}')",
            ["42" + number, number], prepare=True).fetchone()
        if verdict != "applied":
            sys.exit(f"ingest said {verdict}")
        return 1e3 * (time.monotonic() - start)

    def latencies(self, until):
        taken = []
        begun = time.monotonic()
        for number in itertools.count(1):
            taken.append(self.ingest())
            if until(number):
                return taken
            time.sleep(max(0, begun + number * EACH - time.monotonic()))


def quantiles(values):
    ordered = sorted(values)
    return (statistics.median(ordered), ordered[int(len(ordered) * 0.99)],
            ordered[-1])


def all_at_once(worker, count):
    client = Client(MOST_CALLS)
    worker.wait_until_idle()
    client.latencies(lambda number: number >= 50)       # to warm up
    idle = client.latencies(lambda number: number >= IDLE_CALLS)
    first = worker.next
    due = worker.arm(count)
    last = f"H-{first + count - 1:010}"
    watch = psycopg.connect(autocommit=True)
    while not watch.execute("SELECT clock_timestamp() >= %s",
                            [due]).fetchone()[0]:
        time.sleep(0.05)

    def drained(number):
        return (number % 25 == 0 and
                watch.execute("SELECT state = 'completed' FROM payorder.orders"
                              " WHERE order_no = %s", [last]).fetchone()[0]
                or number >= MOST_CALLS - IDLE_CALLS - 50)

    busy = client.latencies(drained)
    worker.wait_until_idle(3600)
    fired, orders, begun, ended, transactions, most = watch.execute("""
        WITH fired AS (
            SELECT e.order_no, e.at, e.txid FROM payorder.events AS e
            WHERE e.source = 'timer' AND e.event = 'complete'
              AND e.order_no >= %s AND e.order_no <= %s)
        SELECT (SELECT count(*) FROM fired),
               (SELECT count(DISTINCT order_no) FROM fired),
               (SELECT min(at) FROM fired), (SELECT max(at) FROM fired),
               count(*), max(n)
        FROM (SELECT count(*) AS n FROM fired GROUP BY txid) AS t""",
        [f"H-{first:010}", last]).fetchone()
    if (fired, orders) != (count, count):
        sys.exit(f"{fired} timers of {orders} orders fired, not {count}")
    took = (ended - begun).total_seconds()
    before, during = quantiles(idle), quantiles(busy)
    say(f"{len(busy)} payments while {count:,} timers were due; p99, longest:"
        f" {during[1]:.1f}, {during[2]:.1f} ms, idle {before[1]:.1f},"
        f" {before[2]:.1f} ms")
    info(f"ingest of a client while {count:,} timers are due at once, median"
         " against idle", f"{during[0] / before[0]:.2f}", "not delayed",
         f"median {during[0]:.2f} against {before[0]:.2f} ms, p99"
         f" {during[1]:.1f} against {before[1]:.1f} ms, longest"
         f" {during[2]:.1f} against {before[2]:.1f} ms; each timer fired once,"
         f" {count / took:,.0f} a second, in {transactions:,} transactions of"
         f" {most} at most")


def main():
    at_once, fired, rounds = map(int, sys.argv[1:])
    session = psycopg.connect(autocommit=True)
    total = at_once + DUE * (2 * rounds + 1)
    history.load("postgres", max(total, fired))
    worker = Worker(session)
    beside_snapshot(worker, fired, rounds)
    all_at_once(worker, at_once)


if __name__ == "__main__":
    main()
