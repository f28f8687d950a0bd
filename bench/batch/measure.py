"""Times ingest_batch() beside as many calls of ingest(); see run.

    measure.py ROUNDS SIZE
    measure.py numbers SIZE         what is to be paid, for count
    measure.py count NUMBERS SIZE   instructions of a message, with callgrind
"""

import json
import os
import statistics
import sys
import time

import psycopg

from bench import by_turns, cpu, info, ratio_of, row, say
from instructions import instructions

GOAL = 5.0
TEXT, BIGINT, JSON = 25, 20, 114
OK = (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK)
PAYLOAD = '{"id": "EV-1"}'
FEW, MANY = 4, 12       # batches that are counted


def open_attempts(connection):
    return connection.execute(
        """SELECT payment_no, amount FROM payorder.attempts
           WHERE state = 'open' ORDER BY order_no COLLATE "C" """).fetchall()


def as_json(messages):
    return json.dumps([
        {"gateway": "wechat", "txn_id": txn_id, "event": "pay",
         "order_no": payment_no, "amount": amount, "currency": "CNY",
         "payload": json.loads(PAYLOAD)}
        for txn_id, payment_no, amount in messages])


class Client:
    """A session with messages that nobody has seen."""

    def __init__(self, size):
        self.size = size
        self.connection = psycopg.connect(autocommit=True)
        self.libpq = self.connection.pgconn
        self.attempts = iter(open_attempts(self.connection))
        for name, sql, types in (
                (b"one", "SELECT * FROM payorder.ingest('wechat', $1, 'pay',"
                 " $2, $3, 'CNY', payload => $4)", [TEXT, TEXT, BIGINT, JSON]),
                (b"batch", "SELECT * FROM payorder.ingest_batch($1)", [JSON])):
            self.expect(self.libpq.prepare(name, sql.encode(), types))

    @staticmethod
    def expect(result):
        if result.status not in OK:
            sys.exit(result.error_message.decode())
        return result

    def messages(self):
        return [(f"t{payment_no}", payment_no, amount) for payment_no, amount
                in (next(self.attempts) for _ in range(self.size))]

    def one_by_one(self, messages):
        for txn_id, payment_no, amount in messages:
            result = self.expect(self.libpq.exec_prepared(
                b"one", [txn_id.encode(), payment_no.encode(), b"%d" % amount,
                         PAYLOAD.encode()]))
            if result.get_value(0, 0) != b"applied":
                sys.exit(f"verdict {result.get_value(0, 0)}")

    def as_batch(self, messages):
        result = self.expect(self.libpq.exec_prepared(
            b"batch", [as_json(messages).encode()]))
        verdicts = {result.get_value(n, 1) for n in range(result.ntuples)}
        if result.ntuples != self.size or verdicts != {b"applied"}:
            sys.exit(f"{result.ntuples} verdicts {verdicts}")

    def measure(self, how):
        """Microseconds, and those of CPU, for one message."""
        messages = self.messages()
        pid = self.connection.info.backend_pid
        before, start = cpu(pid), time.perf_counter()
        how(self, messages)
        taken = (time.perf_counter() - start) * 1e6
        return taken / self.size, (cpu(pid) - before) / self.size


def count(numbers, size):
    """Prints the instructions of a message in a batch."""
    def batch(first):
        messages = [(f"t{payment_no}", payment_no, amount) for
                    payment_no, amount in numbers[first:first + size]]
        return ("SELECT count(*) FROM payorder.ingest_batch("
                f"'{as_json(messages)}') WHERE verdict = 'applied'")

    totals = {}
    for batches in (FEW, MANY):
        folder = os.environ.get("BENCH_PROFILE")
        totals[batches] = instructions(
            ["SELECT 1", *(batch(n * size) for n in range(batches))],
            f'count = "{size}"',
            folder and f"{folder}/callgrind.batch.{batches}")
    each = (totals[MANY] - totals[FEW]) / (MANY - FEW) / size
    say(f"instructions of a message in a batch of {size}: {each:,.0f}")


def main():
    if sys.argv[1] == "numbers":
        with psycopg.connect(autocommit=True) as connection:
            json.dump(open_attempts(connection), sys.stdout)
        return
    if sys.argv[1] == "count":
        with open(sys.argv[2], encoding="utf-8") as file:
            count(json.load(file), int(sys.argv[3]))
        return
    rounds, size = map(int, sys.argv[1:])
    client = Client(size)
    batch, single = by_turns((Client.as_batch, Client.one_by_one),
                             client.measure, rounds)
    times, cpus = ([[pair[which] for pair in taken]
                    for taken in (batch, single)] for which in (0, 1))
    median = statistics.median
    row(f"ingest_batch of {size}, time, against {size} calls",
        ratio_of(times[1], times[0]), ">=", GOAL,
        f"{median(times[0]):.0f} against {median(times[1]):.0f} us a message,"
        f" fsync on")
    info(f"ingest_batch of {size}, server CPU",
         f"{ratio_of(cpus[1], cpus[0]):.3f}", "-",
         f"{median(cpus[0]):.0f} against {median(cpus[1]):.0f} us a message")


if __name__ == "__main__":
    main()
