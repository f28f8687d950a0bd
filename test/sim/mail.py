"""A gateway's outgoing mail: letters, when they are due, and their faults.

A letter is one notice; it is sent at its time and, as its delivery was drawn,
again.  A sending that is not acknowledged is repeated after a pause, for
ever.  A burst goes out through all burst lines at once.  Each is signed as the
gateway signs, once in a while: what is sent again soon is the same bytes.

Beside some letters, as the seed has it, somebody tells a lie about the same
thing: a message that is spoilt (signing.py) and must be refused.

Invariant: nothing is taken out of the outbox (the counter that the director
waits for) before it was acknowledged.
"""

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field

import signing
import templates
from endpoint import Endpoint
from link import Stopped

RETRY = 0.5
SAME_BYTES = 30     # seconds for which a signed message is sent again as it is
LIES = 40           # a lie beside one letter of so many


@dataclass
class Letter:
    i: int = None
    k: int = None
    label: str = None
    make: object = None         # make(n) -> body, not signed
    fault: str = None           # how it is spoilt
    sent: itertools.count = field(default_factory=itertools.count)
    answered: bool = False
    plain: bytes = None         # what was signed last, and how and when
    message: signing.Message = None
    signed_at: float = 0


class Mail:
    """accounts: with the key in use, and with the one that follows it."""

    def __init__(self, gateway, seed, accounts, board, ledger, slots, senders,
                 bursters):
        self.gateway = gateway
        self.seed = seed
        self.accounts = accounts
        self.faults = signing.faults(accounts[0])
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
        self._lie(i, k, label, delivery, make)
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

    def _lie(self, i, k, label, delivery, make):
        dice = int(templates.scramble(self.seed, self.gateway, i, k, label,
                                      "lie")[:12], 16)
        if dice % LIES == 0:
            fault = self.faults[dice // LIES % len(self.faults)]
            self.board.add("lies")
            self._push(delivery.delay * 0.9,
                       ("letter", Letter(make=make, fault=fault)))

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
        self._sign(letter)
        plain, message = letter.plain, letter.message
        answer = endpoint.deliver(message)
        if answer is None and letter.fault:
            self.ledger.note("lie_in_doubt")
        if answer is None or not self._settled(endpoint, letter, answer,
                                               plain):
            self._again(letter)
            return
        self._done()
        if letter.label and not letter.answered:
            letter.answered = True
            self.on_ack(letter.i, letter.k, letter.label)

    def _sign(self, letter):
        now = time.time()
        if letter.signed_at > now - SAME_BYTES:
            return
        n = next(letter.sent)
        account = self.accounts[0]
        if len(self.accounts) > 1 and self.board.flag("new_key") and \
                not letter.fault and (n > 0 or next(self.number) % 2):
            account = self.accounts[1]
        plain = letter.make(n)
        document = templates.document(account.adapter, plain)
        message = signing.spoil(account, document, letter.fault, now) \
            if letter.fault else signing.sign(account, document, now)
        letter.plain, letter.message = plain, message
        letter.signed_at = now

    def _again(self, letter):
        self.board.add("unacked")
        with self.due:
            heapq.heappush(self.heap,
                           (time.monotonic() + RETRY, next(self.number),
                            ("again", letter)))
            self.due.notify()

    def _settled(self, endpoint, letter, answer, plain):
        """Whether the gateway has no reason to send it again."""
        acknowledged = answer.acknowledges(self.gateway)
        if letter.fault:
            if acknowledged or answer.reasons != {
                    signing.reason(letter.fault)}:
                endpoint.complain(f"{letter.fault}: {answer}", plain)
            for _ in answer.verdicts:
                self.ledger.note("lie", reason=signing.reason(letter.fault))
            return True
        if not acknowledged:
            # not known yet, for some seconds; nothing else is refused
            self.board.add("unknown_key")
            if answer.reasons - {"key_unknown"}:
                endpoint.complain(f"refused: {answer}", plain)
            return False
        for fact, verdict in endpoint.compare(answer, plain):
            self.ledger.note("ack", txn_id=fact.txn_id, event=fact.event,
                             verdict=verdict)
            self.board.add("acked")
        return True
