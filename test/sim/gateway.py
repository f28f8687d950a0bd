"""One simulated gateway: a process with its books, its ledger file, its mail.

usage: gateway.py CONFIG NAME

Answers on a Unix socket: the shop tells what buyers and clerks do and
registers numbers; workers ask; people look at the console.  A connection that
says "watch" is told which messages were acknowledged.  It never reads
payorder's tables: of the database it knows the callback's endpoint only, and of
keys those that it signs with.
"""

import functools
import json
import sys
import threading
import time

import keyring
from board import Board
from books import Books
from ledger import Ledger
from link import Stopped
from mail import Mail
from wire import serve


class Gateway:
    def __init__(self, config, name):
        mine = config["gateways"][name]
        self.board = Board(config["board"], mine["row"])
        self.watchers = []
        self.lock = threading.Lock()
        ledger = Ledger(mine["ledger"])
        mail = Mail(name, config["seed"], keyring.load(config["keys"], name),
                    self.board, ledger, mine["slots"], config["senders"],
                    config["bursters"])
        mail.on_ack = self.tell_watchers
        self.books = Books(name, config["seed"], ledger, mail)
        books = self.books
        self.orders = {"register": books.register, "pay": books.pay,
                       "release": books.release, "fail": books.fail,
                       "close": books.close_by_itself, "lie": books.lie,
                       "authorise": books.authorise, "revoke": books.revoke,
                       "console_refund": books.console_refund,
                       "unrefund": books.unrefund,
                       "foreign": books.foreign, "ghost": books.ghost}
        for do in ("withdraw", "reinstate", "lose"):
            for n in (0, 1):
                self.orders[do + "2" * n] = functools.partial(
                    books.dispute, do=do, n=n)
        self.questions = {"payment": books.ask_payment,
                          "close": books.ask_close,
                          "refund": books.ask_refund,
                          "about_refund": books.ask_about_refund,
                          "has": books.has,
                          "refund_state": books.refund_state,
                          "console": books.console, "knows": books.knows}
        serve(mine["socket"], self.handle)

    def tell_watchers(self, i, k, label):
        with self.lock:
            for talk in list(self.watchers):
                try:
                    talk.send([i, k, label])
                except OSError:
                    self.watchers.remove(talk)

    def handle(self, question, talk):
        kind = question.pop("say", None)
        if kind == "watch":
            with self.lock:
                self.watchers.append(talk)
            return None
        if kind in self.orders:
            self.orders[kind](**question)
            return {}
        answer = self.questions[question.pop("ask")](**question)
        return {"answer": answer}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    gateway = Gateway(config, sys.argv[2])
    try:
        while not gateway.board.stopped:
            time.sleep(0.1)
    except (KeyboardInterrupt, Stopped):
        pass


if __name__ == "__main__":
    main()
