"""Times the views of bench/views/run on the server that PG* names.

    measure.py RUNS

Each query runs once to warm up and RUNS times more through libpq; what is
fetched is not read, since that would be this client's time.
"""

import statistics
import sys
import time

import psycopg

from bench import cpu, info, say

GOAL_MS = 50.0
ONE_DAY = """SELECT ((max(received_at) AT TIME ZONE 'UTC')::date - 15)::text
             FROM payorder.payments"""
SIZES = """SELECT (SELECT count(*) FROM payorder.payments),
                  (SELECT count(*) FROM payorder.tasks),
                  (SELECT count(*) FROM payorder.task_ready WHERE kind = 'review'),
                  (SELECT count(*) FROM payorder.task_dead)"""


def measure(connection, query, runs):
    """Times and CPU times of some runs of a query, and its number of rows."""
    pid = connection.info.backend_pid
    times, cpus, rows = [], [], 0
    for _ in range(runs + 1):
        before, start = cpu(pid), time.perf_counter()
        result = connection.pgconn.exec_(query.encode())
        times.append((time.perf_counter() - start) * 1e3)
        cpus.append((cpu(pid) - before) / 1e3)
        if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            sys.exit(result.error_message.decode())
        rows = result.ntuples
    return times[1:], cpus[1:], rows


def main():
    runs = int(sys.argv[1])
    with psycopg.connect(autocommit=True) as connection:
        day = connection.execute(ONE_DAY).fetchone()[0]
        queries = {
            "attention": "SELECT * FROM payorder.attention",
            "money_balance of one day":
                f"SELECT * FROM payorder.money_balance WHERE day = '{day}'",
        }
        payments, tasks, reviews, dead = connection.execute(SIZES).fetchone()
        say(f"{payments:,} payments, {tasks:,} tasks, {reviews:,} reviews"
            f" open, {dead:,} dead; median of {runs}\n")
        say("| view | rows | ms | longest | CPU ms | goal | |")
        say("|---|---|---|---|---|---|---|")
        for name, query in queries.items():
            times, cpus, rows = measure(connection, query, runs)
            met = statistics.median(cpus) <= GOAL_MS
            info(name, f"{statistics.median(cpus):.1f} ms",
                 f"{GOAL_MS:.0f} ms", f"CPU of the backend, {rows:,} rows,"
                 f" {payments:,} payments")
            say(f"| {name} | {rows:,} | {statistics.median(times):.1f}"
                f" | {max(times):.1f} | {statistics.median(cpus):.1f}"
                f" | {GOAL_MS:.0f} | {'met' if met else 'missed'} |")
        for name, query in queries.items():
            say(f"\n{name}: {query}")
            for line, in connection.execute("EXPLAIN (ANALYZE, BUFFERS) "
                                            + query):
                say(f"    {line}")


if __name__ == "__main__":
    main()
