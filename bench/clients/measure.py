"""Compares the throughput of ingest() with that of a CTE that checks nothing.

    measure.py ROUNDS CALLS CLIENTS FOLDER
    measure.py count FOLDER         instructions of both, with callgrind

FOLDER has the scripts for pgbench, ours.pgbench and bare.pgbench.  See run.
"""

import functools
import os
import re
import statistics
import subprocess
import sys

import psycopg

from bench import by_turns, ratio_of, row, say
from instructions import per_call
from rows import broken_chains, differences, say_wal, wal_of

GOAL = 1.0
CHECKS = 20
TABLES = ("callbacks", "attempts", "payments", "orders", "timers", "tasks",
          "task_ready", "events")
CONTESTANTS = {"payorder": "ours", "bare": "bare"}


def run(folder, schema, first, calls, clients):
    """Transactions per second of some clients with calls each."""
    result = subprocess.run(
        ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2",
         "-t", str(calls), "-D", f"first={first}", "-D", f"calls={calls}",
         "-D", "i=0", "-f", f"{folder}/{CONTESTANTS[schema]}.pgbench"],
        text=True, check=False, capture_output=True)
    if result.returncode != 0 or re.search("failed: [1-9]", result.stdout):
        sys.exit(result.stdout + result.stderr)
    return float(re.search(r"^tps = ([0-9.]+)", result.stdout, re.M)[1])


def check(folder):
    """Stops if both don't write the same rows and hashes."""
    with psycopg.connect(autocommit=True) as connection:
        wal = [wal_of(connection, [functools.partial(
            run, folder, schema, 0, CHECKS, 1)]) for schema in CONTESTANTS]
        problems = differences(connection, tuple(CONTESTANTS), TABLES)
        for schema in CONTESTANTS:
            broken = broken_chains(connection, schema, f"A-{CHECKS:09d}")
            if broken:
                problems.append(f"{broken} events of {schema} break their"
                                " chain")
        say("\n".join(problems) or "both wrote the same rows of"
            f" {', '.join(TABLES)}; all hashes verify")
        say_wal(*[({kind: count / CHECKS for kind, count in kinds.items()},
                   size / CHECKS) for kinds, size in wal], tuple(CONTESTANTS))
        if problems:
            sys.exit(1)


def unpaid(first, last):
    """Orders that a client should have paid and did not, in both schemas."""
    with psycopg.connect(autocommit=True) as connection:
        return [connection.execute(
            f"""SELECT count(*) FROM {schema}.orders
                WHERE order_no BETWEEN 'A-{first:09d}' AND 'A-{last:09d}'
                  AND (state <> 'paid' OR paid_amount <> amount)""")
            .fetchone()[0] for schema in CONTESTANTS]


def statement_of(folder, schema):
    """What pgbench runs, in one line, with $1 and $2 for :n and :amount."""
    with open(f"{folder}/{CONTESTANTS[schema]}.pgbench",
              encoding="utf-8") as file:
        text = " ".join(line.strip() for line in file
                        if not line.startswith("\\"))
    text = re.sub(r"(?<!:):n\b", "$1", text.rstrip("; "))
    return re.sub(r"(?<!:):amount\b", "$2", text)


def count(folder):
    """Prints the instructions of a call."""
    for schema, more, answer in (("payorder", "", 'verdict = "applied"'),
                                 ("bare", " RETURNING task_id", 'task_id = "')):
        text = statement_of(folder, schema) + more
        each = per_call(f"PREPARE c (bigint, bigint) AS {text}",
                        lambda n: f"EXECUTE c({n}, {1000 + n % 9000})",
                        answer, CHECKS + 1, f"clients.{schema}")
        say(f"instructions of a call, {schema}: {each:,.0f}")


def main():
    if sys.argv[1] == "count":
        count(sys.argv[2])
        return
    rounds, calls, clients = map(int, sys.argv[1:4])
    folder = sys.argv[4]
    check(folder)
    done = dict.fromkeys(CONTESTANTS, CHECKS)

    def measure(schema):
        first = done[schema]
        done[schema] += calls * clients
        return run(folder, schema, first, calls, clients)

    ours, bare = by_turns(tuple(CONTESTANTS), measure, rounds)
    left = unpaid(1, done["payorder"])
    if left != [0, 0]:
        sys.exit(f"not paid: {left}")
    row(f"ingest, {clients} clients, calls a second, against a CTE that"
        " checks nothing", ratio_of(ours, bare), ">=", GOAL,
        f"{statistics.median(ours):.0f} against {statistics.median(bare):.0f},"
        f" {os.environ.get('SETTING', 'fsync on')}")


if __name__ == "__main__":
    main()
