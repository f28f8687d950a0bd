"""A gateway that takes 4 calls at once, and 16 workers: never more than 4 tasks
of it are held, and all are done in the end (scenario 39)."""

import random
import threading
import unittest

import psycopg

WORKERS, SLOTS, TASKS = 16, 4, 400


class TaskLimit(unittest.TestCase):
    def setUp(self):
        self.most, self.failures = 0, []
        self.lock = threading.Lock()
        with psycopg.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION IF NOT EXISTS payorder")
            db.execute("SELECT payorder.add_gateway('g', 'generic', 'g')")
            db.execute("SELECT payorder.define_task_kind('free', "
                       "backoff_base => '1 ms', backoff_max => '1 ms')")
            db.execute("SELECT payorder.set_task_limit('g', max_running => %s)",
                       (SLOTS,))
            db.execute("""
                SELECT payorder.create_order('o' || i, 100, 'CNY'),
                       payorder.ingest('g', 'p' || i, 'pay', 'o' || i, 100, 'CNY'),
                       payorder.request_refund('RF' || to_char(i, 'FM000000'), 'o' || i),
                       payorder.enqueue('free')
                FROM generate_series(1, %s) AS i""", (TASKS,))

    def work(self, number):
        rng = random.Random(number)
        level = rng.choice(("read committed", "repeatable read"))
        with psycopg.connect(autocommit=True) as db:
            db.execute(f"SET default_transaction_isolation = '{level}'")
            while not self.failures and self.step(db, rng):
                pass

    def step(self, db, rng):
        """Claims some, looks, and ends them; False when all is done."""
        try:
            with db.transaction():
                tasks = db.execute(
                    "SELECT task, token, gateway FROM payorder.claim(max_tasks => %s)",
                    (rng.randint(1, 6),)).fetchall()
                (held,), = db.execute("SELECT count(*) FROM payorder.task_leases "
                                      "WHERE gateway = 'g'").fetchall()
        except psycopg.errors.SerializationFailure:
            return True
        with self.lock:
            self.most = max(self.most, held)
        for task, token, _ in tasks:
            self.end(db, rng, task, token)
        return tasks or db.execute(
            "SELECT EXISTS (SELECT FROM payorder.task_ready WHERE kind IN ('refund', 'free')) "
            "OR EXISTS (SELECT FROM payorder.task_leases)").fetchone()[0]

    def end(self, db, rng, task, token):
        while True:
            try:
                if rng.random() < 0.1:
                    db.execute("SELECT payorder.fail(%s, %s, 'no')", (task, token))
                else:
                    db.execute("SELECT payorder.complete(%s, %s)", (task, token))
                return
            except psycopg.errors.SerializationFailure:
                continue

    def guarded(self, number):
        try:
            self.work(number)
        except Exception as error:
            self.failures.append(error)

    def test_never_more(self):
        with psycopg.connect(autocommit=True) as db:
            db.execute("SELECT payorder.define_task_kind('refund', "
                       "backoff_base => '1 ms', backoff_max => '1 ms', max_attempts => 100)")
        threads = [threading.Thread(target=self.guarded, args=(i,))
                   for i in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.failures, [])
        self.assertEqual(self.most, SLOTS)
        with psycopg.connect(autocommit=True) as db:
            self.assertEqual(db.execute(
                "SELECT count(*) FROM payorder.task_finished AS f "
                "JOIN payorder.tasks AS t ON t.id = f.task_id "
                "WHERE t.kind IN ('refund', 'free')").fetchone()[0], 2 * TASKS)
            self.assertEqual(db.execute("SELECT * FROM payorder.check_invariants()").fetchall(), [])


if __name__ == "__main__":
    unittest.main()
