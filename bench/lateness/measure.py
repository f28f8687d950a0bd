"""How late timers fire; see run.

    measure.py ORDERS SECONDS
"""

import sys
import time

import psycopg

from bench import row, say

GOAL = 50   # ms, of the 99th percentile
# The orders are there before the first is due, and other timers of theirs come
# only 30 s after their creation.
LEAD, MOST_SECONDS = 8, 20


def main():
    orders, seconds = map(int, sys.argv[1:])
    if seconds > MOST_SECONDS:
        sys.exit("other timers would come between")
    session = psycopg.connect(autocommit=True)
    session.execute("CREATE EXTENSION payorder")
    start = time.time()
    for first in range(0, orders, 100):
        session.execute(
            "SELECT payorder.create_order('o' || n, 1990, 'CNY', pay_within =>"
            " make_interval(secs => %s - extract(epoch FROM clock_timestamp())"
            "                       + %s + random() * %s))"
            " FROM generate_series(%s::integer, %s) AS n",
            [start, LEAD, seconds, first + 1, first + 100])
    say(f"{orders:,} orders created in {time.time() - start:.1f} s")
    deadline = time.time() + seconds + 30
    while session.execute("SELECT count(*) FROM payorder.orders WHERE state ="
                          " 'pending'").fetchone() != (0,):
        if time.time() > deadline:
            sys.exit("timers did not fire")
        time.sleep(0.5)
    fired, median, p99, most = session.execute("""
        SELECT count(*),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY late),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY late),
               max(late)
        FROM (SELECT 1000 * extract(epoch FROM
                     pg_xact_commit_timestamp(e.txid::xid) - o.pay_by) AS late
              FROM payorder.events AS e
              JOIN payorder.orders AS o ON o.order_no = e.order_no
              WHERE e.source = 'timer' AND e.event = 'close') AS fired
        """).fetchone()
    if fired != orders:
        sys.exit(f"{fired} of {orders} timers fired")
    row("timer lateness to the commit, p99, worker preloaded, ms", float(p99),
        "<=", GOAL, f"{orders:,} timers in {seconds} s, each fired once;"
        f" median {median:.1f}, longest {most:.1f} ms")


if __name__ == "__main__":
    main()
