"""A database with a year of orders; see orders.sql."""

import datetime
import subprocess
import time

import psycopg

from bench import say

YEAR = datetime.datetime.now(datetime.timezone.utc).replace(
    hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(days=365)
DUE_AFTER = datetime.timedelta(days=400)
AT_ONCE = 2     # sessions that load
TABLES = ("orders", "events", "timers", "attempts", "payments", "callbacks",
          "tasks", "task_finished")
# Indexes are built when all rows are there; REINDEX makes them ready again.
INDEXES_OFF = """
    UPDATE pg_index SET indisready = false, indisvalid = false
    FROM pg_class AS t, pg_class AS i
    WHERE t.oid = indrelid AND i.oid = indexrelid AND i.relkind = 'i'
      AND t.relnamespace = 'payorder'::regnamespace
      AND (t.relname = ANY (%s) OR t.relname ~ '^events_[0-9][0-9]$')"""
INDEXES_LEFT = """
    SELECT count(*) FROM pg_index WHERE NOT indisready OR NOT indisvalid"""


def due(number, total):
    """The instant at which the timer of order number `number` is due."""
    return YEAR + number * (datetime.timedelta(days=365) / total) + DUE_AFTER


def create(database, total, extra=()):
    """Creates a database and loads it, by several sessions at once."""
    with psycopg.connect(autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database}")
    load(database, total, extra)


def load(database, total, extra=()):
    start = time.monotonic()
    with psycopg.connect(dbname=database, autocommit=True) as session:
        session.execute("CREATE EXTENSION IF NOT EXISTS payorder")
        session.execute("SELECT payorder.add_gateway('till', 'generic',"
                        " 'shop')")
        for statement in extra:
            session.execute(statement)
        session.execute(INDEXES_OFF, [list(TABLES)])
        jobs = []
        for part in range(AT_ONCE):
            first, last = (total * part // AT_ONCE + 1,
                           total * (part + 1) // AT_ONCE)
            jobs.append(subprocess.Popen(
                ["psql", "-Xq", "-d", database, "-v", f"first={first}",
                 "-v", f"last={last}", "-v", f"total={total}",
                 "-v", f"year={YEAR.isoformat()}",
                 "-f", "bench/lib/orders.sql"]))
        for job in jobs:
            if job.wait() != 0:
                raise SystemExit("could not load orders")
        subprocess.run(
            ["reindexdb", "-q", "-d", database, "-j", str(AT_ONCE)] +
            [f"--table=payorder.{table}" for table in TABLES], check=True)
        if session.execute(INDEXES_LEFT).fetchone() != (0,):
            raise SystemExit("an index was not built")
        session.execute("SELECT setval('payorder.task_ids', %s)", [total + 1])
        session.execute("VACUUM (ANALYZE)")
    say(f"{database}: {total:,} orders loaded in"
        f" {time.monotonic() - start:.0f} s")
