"""People who settle: they work the view payorder.attention, row by row.

usage: people.py CONFIG

Each decision is one call built from the row's own columns, one of those that
the row offers.  What a person knows beside the row: the shop's policy, the
gateways' consoles, and what a message says that names no order.  Rows are
shared out by their subject; what one person has proposed about much money,
another one confirms, after the first has tried alone and was refused.

A row may be settled by a gateway's message while somebody decides: then the
call is refused and the row is gone.  To be refused while the row stays is an
error.
"""

import json
import re
import sys
import threading
import time
import traceback
import zlib

import psycopg

from board import Board
from fate import shop_keeps
from link import Again, Broken, Link, Stopped
from setup import SECOND_PERSON
from wire import dial

NAMES = ("lin", "mara", "otto")
PAUSE = 0.5

ROWS = """
SELECT kind, subject, cause, amount, currency, order_no, gateway, txn_id,
       event, refund_no, task, decisions, first_actor, first_decision
FROM payorder.attention WHERE decisions <> '{}'
ORDER BY task
"""
STILL = "SELECT decisions FROM payorder.attention WHERE task = %s"
MESSAGE = """
SELECT reference, payment_txn FROM payorder.callbacks
WHERE gateway = %s AND txn_id = %s AND event = %s
"""
SUSPECT = """
SELECT reason = 'suspect' FROM payorder.refunds WHERE refund_no = %s
"""
ORDER = "SELECT 1 FROM payorder.orders WHERE order_no = %s"
REPAIR = "DELETE FROM shop.broken WHERE order_no = %s"

SETTLE_CALLBACK = """
SELECT verdict FROM payorder.settle_callback(%s, %s, %s, %s, %s, %s, %s)
"""
SETTLE_REFUND = "SELECT state FROM payorder.settle_refund(%s, %s, %s, %s)"
REQUEST_REFUND = """
SELECT state FROM payorder.request_refund(
    %s, %s, amount => %s, reason => 'still owed', payment => %s,
    gateway => %s, actor => %s)
"""
CANCEL_TASK = "SELECT payorder.cancel_task(%s, %s, 'seen')"
RETRY_DEAD = "SELECT payorder.retry_dead(%s, %s, 'once more')"
RETRY_ORDER = "SELECT payorder.retry_order(%s, %s, 'repaired')"
RETRY_CALLBACK = "SELECT payorder.retry_callback(%s, %s, %s, %s, 'repaired')"

# refusals that somebody else's being faster can be the reason of
OVERTAKEN = ("PO006", "PO015", "PO001", "55000", "22023", "42501")
MISSPELT = re.compile(r"(shop[0-9]+_[0-9]{6})x")
OWN = re.compile(r"shop[0-9]+_[0-9]{6}")


class Row:
    def __init__(self, columns):
        (self.kind, self.subject, self.cause, self.amount, self.currency,
         self.order_no, self.gateway, self.txn_id, self.event, self.refund_no,
         self.task, self.decisions, self.first_actor,
         self.first_decision) = columns

    def offers(self, decision):
        return decision in self.decisions

    def person(self):
        """Whose row it is: the second person is another than the first."""
        if self.first_actor in NAMES:
            return (NAMES.index(self.first_actor) + 1) % len(NAMES)
        return zlib.crc32(f"{self.subject}".encode()) % len(NAMES)

    def __str__(self):
        return f"{self.kind} {self.cause} {self.subject} {self.decisions}"


class Person:
    def __init__(self, config, board, n, office):
        self.n, self.name = n, NAMES[n]
        self.board = board
        self.link = Link(board, config["people"]["slots"] + n, self.name)
        self.talks = {name: dial(gateway["socket"])
                      for name, gateway in config["gateways"].items()}
        self.office = office
        self.rows = []

    def work(self):
        while not self.board.stopped:
            try:
                self.rows = list(map(Row, self.link.call(ROWS)))
            except (Broken, Again):
                continue
            for row in self.rows:
                if row.person() == self.n:
                    self.treat(row)
            time.sleep(PAUSE)

    def treat(self, row):
        call = self.decide(row)
        if call is None:
            return
        if self.carry_out(row, *call) and self.needs_two(row, call):
            self.try_alone(row, *call)

    def carry_out(self, row, sql, params):
        while True:
            try:
                self.link.call(sql, params)
                self.board.add("decisions")
                return True
            except Broken:
                continue            # if it was done, it is refused now
            except Again:
                time.sleep(0.05)
            except psycopg.Error as error:
                if error.sqlstate not in OVERTAKEN or self.stays(row):
                    self.complain(row, sql, params, error)
                else:
                    self.board.add("overtaken")
                return False

    def needs_two(self, row, call):
        """Whether what was just called is only a proposal."""
        return row.first_actor is None and row.amount is not None and \
            row.amount > SECOND_PERSON and (
                call[0] == SETTLE_REFUND or
                call[0] == SETTLE_CALLBACK and call[1][3] == "keep")

    def try_alone(self, row, sql, params):
        """What needs two people, one can't do by saying it twice."""
        try:
            self.link.call(sql, params)
            self.complain(row, sql, params, "one person was enough")
        except (Broken, Again):
            pass
        except psycopg.Error as error:
            if error.sqlstate == "PO015":
                self.board.add("second")
            elif error.sqlstate not in OVERTAKEN or self.stays(row):
                self.complain(row, sql, params, error)

    def stays(self, row):
        """Whether the row is there as it was."""
        rows = self.link.insist(STILL, (row.task,))
        return bool(rows) and rows[0][0] == row.decisions

    def complain(self, row, sql, params, error):
        self.board.add("errors")
        print(f"{self.name}: {row}: {' '.join(sql.split())} {params}: "
              f"{getattr(error, 'sqlstate', '')} {error}",
              file=sys.stderr, flush=True)

    def ask(self, gateway, question, **more):
        return self.talks[gateway].ask({"ask": question, **more})["answer"]

    # ---- decisions: (sql, params), None to wait ----

    def decide(self, row):
        if row.kind == "dead task":
            return self.dead(row)
        if row.offers("settle_callback attach"):
            return self.parked(row)
        for decision in ("keep", "return"):
            if row.offers("settle_callback " + decision):
                return self.callback(row, decision)
        if row.offers("settle_callback dismiss"):
            return self.dismiss(row)
        if row.offers("retry_order") or row.offers("retry_callback"):
            return self.repair(row)
        if row.offers("settle_refund release"):
            (suspect,), = self.link.insist(SUSPECT, (row.refund_no,))
            return self.refund(row, "cancel" if suspect else "release")
        if row.offers("settle_refund succeeded"):
            return self.console(row)
        if row.offers("request_refund"):
            return self.owed(row)
        if row.offers("cancel_task"):
            return CANCEL_TASK, (row.task, self.name)
        return None

    def callback(self, row, decision, order_no=None):
        return SETTLE_CALLBACK, (row.gateway, row.txn_id, row.event, decision,
                                 self.name, row.cause, order_no)

    def refund(self, row, decision):
        return SETTLE_REFUND, (row.refund_no, decision, self.name, row.cause)

    def message(self, row):
        (reference, payment_txn), = self.link.insist(
            MESSAGE, (row.gateway, row.txn_id, row.event))
        return reference or "", payment_txn

    def parked(self, row):
        """Money that names no order: whose may it be?"""
        reference, _ = self.message(row)
        if OWN.fullmatch(reference):
            return None             # its order is about to come
        match = MISSPELT.fullmatch(reference)
        if match and self.link.insist(ORDER, (match.group(1),)):
            return self.callback(row, "attach", match.group(1))
        return self.callback(row, "return")

    def dismiss(self, row):
        """A message without money of its own."""
        if row.cause in ("parked", "parked_limit"):
            _, payment_txn = self.message(row)
            if payment_txn is None or self.ask(row.gateway, "knows",
                                               txn_id=payment_txn):
                return None         # what it waits for is about to come
        return self.callback(row, "dismiss")

    def repair(self, row):
        """What raised is the shop's own; then what was set aside goes on."""
        self.link.insist(REPAIR, (row.order_no,))
        if row.offers("retry_order"):
            return RETRY_ORDER, (row.order_no, self.name)
        return RETRY_CALLBACK, (row.gateway, row.txn_id, row.event, self.name)

    def console(self, row):
        """How a refund stands, as the gateway's console shows."""
        if any(other.refund_no == row.refund_no and self.to_retry(other)
               for other in self.rows):
            return None
        shown = self.ask(row.gateway, "console", number=row.refund_no)
        if shown not in ("succeeded", "failed"):
            return None
        return self.refund(row, shown)

    def owed(self, row):
        if row.offers("settle_refund keep") and shop_keeps(row.txn_id):
            return self.refund(row, "keep")
        return REQUEST_REFUND, ("PEOPLE%08d" % row.task, row.order_no,
                                row.amount, row.txn_id, row.gateway, self.name)

    def to_retry(self, row):
        return row.offers("retry_dead") and row.task not in self.office

    def dead(self, row):
        """A task given up: once more; then a refund has its own row."""
        if self.to_retry(row):
            self.office.add(row.task)
            return RETRY_DEAD, (row.task, self.name)
        if row.offers("cancel_task"):
            return CANCEL_TASK, (row.task, self.name)
        return None


def run(config, board, n, office):
    try:
        Person(config, board, n, office).work()
    except (Stopped, ConnectionError, BrokenPipeError):
        pass
    except Exception:
        if not board.stopped:
            board.add("errors")
            traceback.print_exc()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    board = Board(config["board"], config["people"]["row"])
    office = set()      # dead tasks that somebody has tried once more
    for n in range(len(NAMES)):
        threading.Thread(target=run, args=(config, board, n, office),
                         daemon=True).start()
    try:
        while not board.stopped:
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
