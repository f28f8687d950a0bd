"""A gateway's outgoing mail: letters, when they are due, and their faults.

A letter is one notice; it is sent at its time and, as its delivery was drawn,
again.  A sending that is not acknowledged is repeated after a pause, for
ever.  A burst goes out through all burst lines at once.

Invariant: nothing is taken out of the outbox (the counter that the director
waits for) before it was acknowledged.
"""

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field

from endpoint import Endpoint
from link import Stopped

RETRY = 0.5


@dataclass
class Letter:
    i: int = None
    k: int = None
    label: str = None
    make: object = None         # make(n) -> body
    sent: itertools.count = field(default_factory=itertools.count)
    answered: bool = False


class Mail:
    def __init__(self, gateway, board, ledger, slots, senders, bursters):
        self.gateway = gateway
        self.board = board
        self.ledger = ledger
        self.heap = []
        self.number = itertools.count()
        self.due = threading.Condition()
        self.burst = threading.Condition()
        self.burst_queue = []
        self.on_ack = lambda i, k, label: None
        self.waiting = 0
        for n in range(senders + bursters):
            endpoint = Endpoint(gateway, board, slots + n)
            work = self._send_due if n < senders else self._send_bursts
            threading.Thread(target=self._run, args=(work, endpoint),
                             daemon=True).start()

    # ---- putting in ----

    def post(self, i, k, label, key, delivery, make):
        """Sends a notice as its delivery was drawn."""
        self.board.add("messages")
        if delivery.lost:
            self.board.add("lost")
            self.ledger.note("lost", i=i, k=k, label=label, key=key)
            return
        letter = Letter(i, k, label, make)
        if delivery.copies:
            self.board.add("repeated")
        if delivery.burst:
            self.board.add("bursts")
            self._push(delivery.delay, ("burst", letter, delivery.copies + 1))
            return
        for n in range(delivery.copies + 1):
            self._push(delivery.delay + n * delivery.gap, ("letter", letter))

    def post_once(self, body, delay):
        """Sends a body that no fault befalls."""
        self._push(delay, ("letter", Letter(make=lambda n: body)))

    def later(self, delay, action):
        self._push(delay, ("action", action))

    def _push(self, delay, thing):
        with self.due:
            heapq.heappush(self.heap, (time.monotonic() + delay,
                                       next(self.number), thing))
            self._count(1)
            self.due.notify()

    def _count(self, n):
        self.waiting += n
        self.board.put("outbox", self.waiting)

    def _done(self):
        with self.due:
            self._count(-1)

    # ---- sending ----

    def _run(self, work, endpoint):
        try:
            while True:
                work(endpoint)
        except Stopped:
            pass

    def _next(self):
        with self.due:
            while True:
                if self.board.stopped:
                    raise Stopped
                wait = 0.5
                if self.heap:
                    wait = self.heap[0][0] - time.monotonic()
                    if wait <= 0 or (self.board.flag("hurry") and
                                     self.heap[0][2][0] != "again"):
                        return heapq.heappop(self.heap)[2]
                self.due.wait(min(wait, 0.5))

    def _send_due(self, endpoint):
        kind, *rest = self._next()
        if kind == "action":
            rest[0]()
            self._done()
        elif kind == "burst":
            letter, copies = rest
            with self.burst:
                self.burst_queue += [letter] * copies
                self.burst.notify_all()
            with self.due:
                self._count(copies - 1)
        else:
            self._send(endpoint, rest[0])

    def _send_bursts(self, endpoint):
        with self.burst:
            while not self.burst_queue:
                if self.board.stopped:
                    raise Stopped
                self.burst.wait(0.5)
            letter = self.burst_queue.pop()
        self._send(endpoint, letter)

    def _send(self, endpoint, letter):
        body = letter.make(next(letter.sent))
        answers = endpoint.deliver(body)
        if answers is None:
            self.board.add("unacked")
            with self.due:
                heapq.heappush(self.heap,
                               (time.monotonic() + RETRY, next(self.number),
                                ("again", letter)))
                self.due.notify()
            return
        for fact, verdict in answers:
            self.ledger.note("ack", txn_id=fact.txn_id, event=fact.event,
                             verdict=verdict)
            self.board.add("acked")
        self._done()
        if letter.label and not letter.answered:
            letter.answered = True
            self.on_ack(letter.i, letter.k, letter.label)
