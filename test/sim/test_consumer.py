"""Eight writers in random transactions over shared orders, and two consumers,
each worked by two sessions of which some take in portions, some acknowledge
only a part, and some fall over before they do: when all is over each consumer
has been given each event, once as far as it had acknowledged it, and each
order's in their order.  A transaction that holds a number and does nothing is
open all the time."""

import os
import random
import threading
import time
import unittest

import psycopg

SEED = int(os.environ.get("SEED", "20261"))
WRITERS = 8
ORDERS = 40
SECONDS = 8
SHARED = ("40001", "40P01", "55P03")


def connect():
    return psycopg.connect(autocommit=True, prepare_threshold=None)


class Writer(threading.Thread):
    def __init__(self, number, until):
        super().__init__()
        self.rng = random.Random(SEED * 1000 + number)
        self.number = number
        self.until = until
        self.made = 0
        self.problem = None

    def run(self):
        try:
            with connect() as connection:
                connection.execute("SET payorder.lock_wait = '300ms'")
                while time.monotonic() < self.until:
                    self.transaction(connection)
        except Exception as problem:        # shown by the test
            self.problem = problem

    def transaction(self, connection):
        level = self.rng.choice(("READ COMMITTED", "READ COMMITTED",
                                 "REPEATABLE READ", "SERIALIZABLE"))
        try:
            connection.execute(f"BEGIN ISOLATION LEVEL {level}")
            if self.rng.random() < 0.3:     # a number long before the events
                connection.execute("SELECT pg_current_xact_id()")
                time.sleep(self.rng.random() * 0.02)
            for _ in range(self.rng.choice((1, 1, 2, 3, 6))):
                self.step(connection)
            time.sleep(self.rng.choice((0, 0, 0.001, 0.01, 0.08)))
            connection.execute(
                "ROLLBACK" if self.rng.random() < 0.15 else "COMMIT")
        except psycopg.Error as error:
            connection.execute("ROLLBACK")
            if error.sqlstate not in SHARED:
                raise

    def step(self, connection):
        undone = self.rng.random()
        if undone < 0.4:
            connection.execute("SAVEPOINT s")
        self.call(connection)
        if undone < 0.2:
            connection.execute("ROLLBACK TO s")
        elif undone < 0.4:
            connection.execute("RELEASE s")

    def call(self, connection):
        order_no = f"O{self.rng.randrange(ORDERS)}"
        kind = self.rng.random()
        if kind < 0.1:
            self.made += 1
            connection.execute(
                "SELECT payorder.create_order(%s, 100, 'CNY')",
                (f"W{self.number}-{self.made}",))
        elif kind < 0.6:
            connection.execute(
                "SELECT payorder.try_fire(%s, e, 'writer')"
                " FROM payorder.allowed_events(%s) AS e"
                " ORDER BY random() LIMIT 1", (order_no, order_no))
        else:
            self.made += 1
            connection.execute(
                "SELECT payorder.ingest('g', %s, 'pay', %s, 100, 'CNY')",
                (f"t{self.number}-{self.made}", order_no))


class Session(threading.Thread):
    """One of two sessions of a consumer.  What it acknowledges is noted in
    the same transaction."""

    def __init__(self, consumer, number, finished):
        super().__init__()
        self.rng = random.Random(SEED * 2000 + number)
        self.consumer = consumer
        self.finished = finished
        self.problem = None

    def run(self):
        try:
            with connect() as connection:
                while self.portion(connection):
                    pass
        except Exception as problem:
            self.problem = problem

    def portion(self, connection):
        last_look = self.finished.is_set()
        level = self.rng.choice(("READ COMMITTED", "REPEATABLE READ",
                                 "SERIALIZABLE"))
        try:
            connection.execute(f"BEGIN ISOLATION LEVEL {level}")
            rows = connection.execute(
                "SELECT position, id, order_no, seq"
                " FROM payorder.next_events(%s, %s)",
                (self.consumer, self.rng.choice((1, 3, 10, 50, 1000)))
            ).fetchall()
            fate = self.rng.random()
            if rows and fate > 0.1:
                if fate < 0.3:
                    rows = rows[:self.rng.randint(1, len(rows))]
                connection.cursor().executemany(
                    "INSERT INTO taken (consumer, id, order_no, seq)"
                    " VALUES (%s, %s, %s, %s)",
                    [(self.consumer, *row[1:]) for row in rows])
                connection.execute("SELECT payorder.ack_events(%s, %s)",
                                   (self.consumer, rows[-1][0]))
            connection.execute(
                "ROLLBACK" if self.rng.random() < 0.1 else "COMMIT")
        except psycopg.Error as error:
            connection.execute("ROLLBACK")
            if error.sqlstate not in SHARED:
                raise
            return True
        if not rows:
            time.sleep(self.rng.random() * 0.01)
        # nothing is left, or the other session has the consumer and goes on
        return bool(rows) or not last_look


class Consumers(unittest.TestCase):
    def test_each_event_once_and_each_order_in_order(self):
        with connect() as main, connect() as idle:
            main.execute("""
                SELECT payorder.add_gateway('g', 'generic', 'm');
                SELECT payorder.create_order('O' || n, 100, 'CNY')
                FROM generate_series(0, %d) AS n;
                SELECT payorder.create_consumer('mail', '-infinity'),
                       payorder.create_consumer('search', '-infinity');
                CREATE TABLE taken (n bigserial, consumer text, id bigint,
                                    order_no text, seq integer)
                """ % (ORDERS - 1))
            idle.execute("BEGIN")
            idle.execute("SELECT pg_current_xact_id()")
            until = time.monotonic() + SECONDS
            finished = threading.Event()
            writers = [Writer(n, until) for n in range(WRITERS)]
            sessions = [Session(consumer, n, finished) for n, consumer
                        in enumerate(("mail", "search", "mail", "search"))]
            for thread in writers + sessions:
                thread.start()
            for writer in writers:
                writer.join()
            finished.set()
            for session in sessions:
                session.join()
            for thread in writers + sessions:
                self.assertIsNone(thread.problem)
            idle.execute("COMMIT")
            self.check(main)

    def check(self, main):
        def ask(query):
            return main.execute(query).fetchall()

        # the last session may have gone while the other held the consumer
        ask("""WITH rest AS (
                   SELECT c.consumer, e.* FROM (VALUES ('mail'), ('search')) AS c (consumer),
                          payorder.next_events(c.consumer, 10000) AS e)
               INSERT INTO taken (consumer, id, order_no, seq)
               SELECT consumer, id, order_no, seq FROM rest ORDER BY position
               RETURNING n""")
        events = ask("SELECT count(*) FROM payorder.events")[0][0]
        self.assertGreater(events, 200)
        self.assertEqual(
            ask("SELECT consumer, count(*), count(DISTINCT id) FROM taken"
                " GROUP BY consumer ORDER BY consumer"),
            [("mail", events, events), ("search", events, events)])
        self.assertEqual(
            ask("""SELECT consumer, order_no, seq FROM (
                       SELECT *, lag(seq, 1, 0) OVER (
                           PARTITION BY consumer, order_no ORDER BY n) AS before
                       FROM taken WHERE order_no IS NOT NULL) AS t
                   WHERE seq <> before + 1"""), [])
        # ids did overtake each other, or nothing was tested
        late = ask("""SELECT count(*) FROM (
                          SELECT id < max(id) OVER (ORDER BY n) AS late
                          FROM taken WHERE consumer = 'mail') AS t WHERE late""")
        self.assertGreater(late[0][0], 5)
        self.assertEqual(ask("SELECT * FROM payorder.check_invariants()"), [])
        print(f"{events} events, {late[0][0]} of them late;", end=" ")


if __name__ == "__main__":
    unittest.main()
