"""A worker program: works payorder's tasks with claim(), complete(), fail().

usage: worker.py CONFIG N INCARNATION

Asks the gateways outside any transaction and reports what they say.  Now and
then, as the seed has it, a worker dies between the outside call and
complete(), or sleeps past its lease and comes too late (PO008).  The director
starts a dead one again.

What the kinds need and answer is DESIGN.md 8a: the payload names what to ask.
"""

import json
import os
import random
import sys
import time

import psycopg

import decode
from board import Board
from link import Again, Broken, Link, Stopped
from wire import dial

KINDS = ["query_payment", "close_payment", "refund", "query_refund", "return"]
CLAIM = """
SELECT task, token, kind, gateway, payload
FROM payorder.claim(%s, max_tasks => %s, lease => %s::interval, worker => %s)
"""
COMPLETE = "SELECT verdict FROM payorder.complete(%s, %s, %s)"
FAIL = "SELECT payorder.fail(%s, %s, %s, true)"
LEASE = 4               # seconds
BATCH = 10
IDLE = 0.15


def message(fact):
    """A fact as complete() takes it."""
    whole = {"txn_id": fact.txn_id, "event": fact.event,
             "order_no": fact.order_no, "amount": fact.amount,
             "currency": fact.currency, "payment_txn": fact.payment_txn,
             "refund_no": fact.refund_no,
             "amount_is_total": True if fact.amount_is_total else None,
             "occurred_at": fact.occurred_at and fact.occurred_at.isoformat(),
             "payload": fact.payload and json.loads(fact.payload)}
    return {name: value for name, value in whole.items() if value is not None}


def messages(answer):
    return {"messages": [message(fact) for fact in answer.facts]}


class Silence(Exception):
    """The gateway did not answer."""


class Worker:
    def __init__(self, config, n, incarnation):
        self.config = config
        self.name = f"worker-{n}.{incarnation}"
        mine = config["workers"][n]
        self.board = Board(config["board"], mine["row"])
        self.link = Link(self.board, mine["slots"], self.name)
        self.talks = {name: dial(gateway["socket"])
                      for name, gateway in config["gateways"].items()}
        rng = random.Random(f"{config['seed']}:worker:{n}:{incarnation}")
        # the last incarnation lives on
        life = rng.randint(150, 900)
        nap = rng.randint(50, 400)
        self.dies_after = life if incarnation < 4 else None
        self.naps_after = nap
        self.done = 0
        self.kinds = {"query_payment": self.query_payment,
                      "close_payment": self.close_payment,
                      "refund": self.refund,
                      "query_refund": self.query_refund,
                      "return": self.give_back}

    def run(self):
        while not self.board.stopped:
            try:
                tasks = self.link.call(CLAIM, (KINDS, BATCH,
                                               f"{LEASE} seconds", self.name))
            except Broken:
                continue        # what it may have claimed comes back by itself
            except Again:
                tasks = []
            for task in tasks:
                self.work(*task)
            if len(tasks) < BATCH:
                time.sleep(IDLE)

    def work(self, task, token, kind, gateway, payload):
        try:
            result = json.dumps(self.kinds[kind](gateway, payload))
            report = (COMPLETE, (task, token, result))
        except Silence:
            self.board.add("silent")
            report = (FAIL, (task, token, "time-out"))
        self.done += 1
        self.accidents()
        self.report(task, *report)

    def accidents(self):
        if self.done == self.dies_after:
            self.board.add("deaths")
            os._exit(3)
        if self.done == self.naps_after:
            time.sleep(LEASE + 2)

    def report(self, task, sql, params):
        while True:
            try:
                self.link.call(sql, params)
                self.board.add("answered")
                return
            except Broken:
                continue        # asked again: done already is PO008
            except Again:
                time.sleep(0.05)
            except psycopg.Error as error:
                if error.sqlstate == "PO008":
                    self.board.add("late_answers")
                    return
                self.board.add("errors")
                print(f"{self.name}: task {task} {params[2][:300]}: "
                      f"{error.sqlstate} {error}", file=sys.stderr, flush=True)
                return

    def ask(self, gateway, question, **more):
        self.board.add("asked")
        answer = self.talks[gateway].ask({"ask": question, **more})["answer"]
        if answer is None:
            raise Silence
        return answer

    # ---- the kinds ----

    def query_payment(self, gateway, payload):
        number = payload["payment_no"]
        answer = decode.payment_answer(
            gateway, number, self.ask(gateway, "payment", number=number))
        if answer.kind == "unknown":
            return {"unknown": True}
        return messages(answer) if answer.facts else {}

    def close_payment(self, gateway, payload):
        number = payload["payment_no"]
        answer = decode.close_answer(
            gateway, number, self.ask(gateway, "close", number=number))
        if answer.kind == "already_paid":
            return {"already_paid": True}
        if answer.kind == "unknown":
            return {"unknown": True}
        return messages(answer)

    def refund(self, gateway, payload):
        number = payload["refund_no"]
        answer = decode.refund_answer(
            gateway, self.ask(gateway, "refund", number=number,
                              txn_id=payload["txn_id"],
                              amount=payload["amount"]), number)
        # nothing final yet: payorder has it asked about
        return messages(answer) if answer.facts else {}

    def query_refund(self, gateway, payload):
        answer = decode.refund_answer(
            gateway, self.ask(gateway, "about_refund",
                              number=payload["refund_no"]),
            payload["refund_no"])
        if answer.kind == "unknown":
            return {"unknown": True}
        return messages(answer) if answer.facts else {}

    def give_back(self, gateway, payload):
        return {"confirmed": [
            item["txn_id"] for item in payload["confirm"]
            if self.ask(item["gateway"], "has", txn_id=item["txn_id"])]}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    try:
        Worker(config, int(sys.argv[2]), int(sys.argv[3])).run()
    except (KeyboardInterrupt, Stopped, ConnectionError, BrokenPipeError):
        pass


if __name__ == "__main__":
    main()
