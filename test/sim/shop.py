"""The simulated shop: plays each order's script (stories.py).

usage: shop.py CONFIG

Clerks (threads) create orders, begin payments, cancel and ask for refunds;
one watches orders that a script waits for, one ships in small batches.  A
call whose connection broke is made good: repeated where payorder recognises
the repeat, looked up where it can't.

The shop's database is its own: it may read payorder's tables.
"""

import heapq
import itertools
import json
import queue
import sys
import threading
import time
import traceback

import psycopg

import steps
import stories
from board import Board
from link import Again, Broken, Link, Stopped
from wire import dial

CREATE = """
SELECT order_no FROM payorder.create_order(
    %s, %s, %s, %s, pay_within => %s::interval, cooling_off => %s::interval)
"""
CREATE_AND_BEGIN = """
SELECT b.payment_no
FROM payorder.create_order(%s, %s, %s, %s, pay_within => %s::interval,
                           cooling_off => %s::interval) AS o,
     unnest(%s::text[]) WITH ORDINALITY AS g (gateway, n),
     LATERAL payorder.begin_payment(o.order_no, g.gateway,
                                    parallel => %s) AS b
ORDER BY g.n
"""
BEGIN = "SELECT payment_no FROM payorder.begin_payment(%s, %s)"
ATTEMPTS = """
SELECT payment_no, gateway FROM payorder.attempts WHERE order_no = %s
ORDER BY created_at, payment_no
"""
FIRE = """
SELECT state FROM payorder.fire(%s, %s, actor => 'buyer', request_id => %s)
"""
SHIP = """
SELECT o.order_no, f.changed, f.state
FROM unnest(%s::text[]) AS o (order_no),
     LATERAL payorder.try_fire(o.order_no, 'ship', actor => 'warehouse') AS f
"""
REFUND = """
SELECT state FROM payorder.request_refund(%s, %s, amount => %s, reason => %s,
                                          actor => 'support')
"""
REFUNDS = """
SELECT state FROM payorder.request_refunds(%s, %s, amount => %s, reason => %s,
                                           actor => 'support')
"""
REPRICE = """
SELECT amount FROM payorder.reprice_order(%s, %s, 'support', 'another price')
"""
BREAK = "INSERT INTO shop.broken VALUES (%s) ON CONFLICT DO NOTHING"
ARRIVED = """
SELECT order_no FROM payorder.orders
WHERE order_no = ANY (%s) AND state = ANY (%s)
"""
REFUNDS_ARRIVED = """
SELECT refund_no FROM payorder.refunds
WHERE refund_no = ANY (%s) AND state = ANY (%s)
"""
SHIPPED = ("shipped", "completed", "refunded")
SHIP_BATCH = 10
PAUSE = 0.3


class Play:
    """An order on its way through its script."""

    def __init__(self, fate):
        self.fate = fate
        self.script = stories.script(fate)
        self.step = None            # the one to be done next
        self.references = {}

    def reference(self, tell):
        if tell.do == "foreign":
            return "NOBODY%06dX" % self.fate.i if self.fate.tries \
                else self.fate.order_no + "x"
        k = tell.k if tell.of is None else tell.of
        if tell.by_order or k not in self.references:
            return self.fate.order_no
        return self.references[k]


class Clerk:
    """One thread's connections."""

    def __init__(self, shop, slot):
        self.link = Link(shop.board, slot, "shop")
        self.talks = {name: dial(gateway["socket"]) for name, gateway
                      in shop.config["gateways"].items()}

    def say(self, gateway, what, i, k, reference, **more):
        self.talks[gateway].ask({"say": what, "i": i, "k": k,
                                 "reference": reference, **more})


class Shop:
    def __init__(self, config):
        self.config = config
        self.board = Board(config["board"], config["shop"]["row"])
        self.ready = queue.Queue()
        self.lock = threading.Lock()
        self.acked = set()
        self.until_acked = {}
        self.until_state = {}       # states: {order_no: play}
        self.until_refund = {}      # states: {refund_no: play}
        self.delayed = []           # heap of (when, n, play)
        self.number = itertools.count()
        self.to_ship = []
        self.handlers = {
            steps.Create: self.create, steps.Begin: self.begin,
            steps.Tell: self.tell, steps.Acked: self.wait_acked,
            steps.State: self.wait_state, steps.Fire: self.fire,
            steps.Ship: self.ship, steps.Refund: self.refund,
            steps.RefundEnds: self.wait_refund,
            steps.RefundAt: self.wait_gateway,
            steps.Reprice: self.reprice, steps.Break: self.broken}

    def run(self):
        slots = itertools.count(self.config["shop"]["slots"])
        for name in self.config["gateways"]:
            self.thread(self.listen, name)
        for _ in range(self.config["clerks"]):
            self.thread(self.serve, Clerk(self, next(slots)))
        self.thread(self.watch, Link(self.board, next(slots), "shop"))
        self.thread(self.pack, Link(self.board, next(slots), "shop"))
        self.thread(self.open_doors)
        while not self.board.stopped:
            time.sleep(0.1)

    def thread(self, work, *args):
        def run():
            try:
                work(*args)
            except Stopped:
                pass
            except Exception:
                if not self.board.stopped:
                    self.board.add("errors")
                    traceback.print_exc()
        threading.Thread(target=run, daemon=True).start()

    # ---- threads ----

    def open_doors(self):
        """Lets the orders come, each at its time."""
        begin = time.monotonic()
        count, rate = self.config["orders"], self.config["rate"]
        for i in range(count):
            while not self.board.stopped:
                early = begin + i / rate - time.monotonic()
                if self.ready.qsize() > 100:
                    time.sleep(0.01)
                elif early > 0 and not self.board.flag("hurry"):
                    time.sleep(min(early, 0.05))
                else:
                    break
            self.ready.put(Play(stories.draw(self.config["seed"], i)))

    def serve(self, clerk):
        while not self.board.stopped:
            try:
                play = self.ready.get(timeout=0.5)
            except queue.Empty:
                continue
            try:
                self.go_on(play, clerk)
            except (psycopg.Error, OSError) as error:
                if self.board.stopped:
                    return
                self.board.add("errors")
                print(f"shop: order {play.fate.order_no} ({play.fate.story}, "
                      f"{play.step}): {getattr(error, 'sqlstate', '')} {error}",
                      file=sys.stderr, flush=True)

    def go_on(self, play, clerk):
        """Plays until the script ends or has to wait."""
        while True:
            if play.step is None:
                play.step = next(play.script, None)
                if play.step is None:
                    self.board.add("played")
                    return
            if not self.handlers[type(play.step)](play, play.step, clerk):
                return
            play.step = None

    def listen(self, gateway):
        """Hears which messages of a gateway were acknowledged."""
        talk = dial(self.config["gateways"][gateway]["socket"])
        talk.send({"say": "watch"})
        while (mark := talk.receive()) is not None:
            mark = tuple(mark)
            with self.lock:
                self.acked.add(mark)
                play = self.until_acked.pop(mark, None)
            if play:
                self.resume(play)

    def watch(self, link):
        """Looks at the orders and refunds that scripts wait for."""
        while not self.board.stopped:
            time.sleep(PAUSE)
            self.look(link, ARRIVED, self.until_state)
            self.look(link, REFUNDS_ARRIVED, self.until_refund)
            with self.lock:
                while self.delayed and self.delayed[0][0] < time.monotonic():
                    self.ready.put(heapq.heappop(self.delayed)[2])

    def look(self, link, sql, waiting):
        """Wakes what has come to a state that its script waits for."""
        with self.lock:
            groups = [(states, list(plays)) for states, plays
                      in waiting.items()]
        for states, names in groups:
            for at in range(0, len(names), 1000):
                for name, in link.insist(sql, (names[at:at + 1000],
                                               list(states))):
                    with self.lock:
                        play = waiting[states].pop(name)
                    self.resume(play)

    def pack(self, link):
        """Ships what is to be shipped, some at a time."""
        while not self.board.stopped:
            with self.lock:
                batch = self.to_ship[:SHIP_BATCH]
                del self.to_ship[:SHIP_BATCH]
            if not batch:
                time.sleep(0.05)
                continue
            plays = {play.fate.order_no: play for play in batch}
            rows = link.insist(SHIP, (sorted(plays),))
            for order_no, changed, state in rows:
                play = plays[order_no]
                if changed or state in SHIPPED:
                    self.board.add("shipped")
                    self.resume(play)
                else:
                    self.later(play)

    # ---- waiting ----

    def resume(self, play):
        play.step = None
        self.ready.put(play)

    def later(self, play):
        with self.lock:
            heapq.heappush(self.delayed, (time.monotonic() + PAUSE,
                                          next(self.number), play))

    def wait_acked(self, play, step, clerk):
        mark = (play.fate.i, step.k, step.do)
        with self.lock:
            if mark in self.acked:
                return True
            self.until_acked[mark] = play
        return False

    def wait_state(self, play, step, clerk):
        with self.lock:
            group = self.until_state.setdefault(step.states, {})
            group[play.fate.order_no] = play
        return False

    def wait_refund(self, play, step, clerk):
        number = play.fate.refunds[step.n].number
        with self.lock:
            group = self.until_refund.setdefault((step.state,), {})
            group[number] = play
        return False

    def wait_gateway(self, play, step, clerk):
        """Whether the gateway has come so far; asked again after a while."""
        gateway = play.fate.tries[0].gateway
        number = play.fate.refunds[step.n].number
        state = clerk.talks[gateway].ask({"ask": "refund_state",
                                          "number": number})["answer"]
        if state in step.states:
            return True
        self.later(play)
        return False

    def ship(self, play, step, clerk):
        with self.lock:
            self.to_ship.append(play)
        return False

    # ---- doing ----

    def create(self, play, step, clerk):
        fate = play.fate
        order = (fate.order_no, fate.amount, fate.currency, fate.machine,
                 fate.pay_within, fate.cooling_off)
        if not step.tries:
            clerk.link.insist(CREATE, order)
            self.board.add("created")
            return True
        gateways = [fate.tries[k].gateway for k in step.tries]
        while True:
            try:
                rows = clerk.link.call(CREATE_AND_BEGIN,
                                       order + (gateways, len(gateways) > 1))
                break
            except Again:
                time.sleep(0.05)
            except Broken:
                rows = clerk.link.insist(ATTEMPTS, (fate.order_no,))
                if rows:        # it had been committed
                    gateways_of = {name: [] for _, name in rows}
                    for number, name in rows:
                        gateways_of[name].append(number)
                    rows = [(gateways_of[name].pop(0),) for name in gateways]
                    break
        self.board.add("created")
        for k, (payment_no,) in zip(step.tries, rows):
            self.begun(play, k, payment_no, clerk)
        return True

    def begun(self, play, k, payment_no, clerk):
        """Gives a payment's number to its gateway."""
        self.board.add("begun")
        play.references[k] = payment_no
        clerk.say(play.fate.tries[k].gateway, "register", play.fate.i, k,
                  payment_no)

    def begin(self, play, step, clerk):
        order_no = play.fate.order_no
        gateway = play.fate.tries[step.k].gateway
        try:
            rows = clerk.link.call(BEGIN, (order_no, gateway))
        except Again:
            self.later(play)
            return False
        except Broken:
            known = play.references.values()
            rows = [(number,) for number, _
                    in clerk.link.insist(ATTEMPTS, (order_no,))
                    if number not in known]
        except psycopg.Error as error:
            if error.sqlstate != "PO001":
                raise
            rows = ()
        if not rows:            # the other try is still open
            self.later(play)
            return False
        self.begun(play, step.k, rows[0][0], clerk)
        return True

    def tell(self, play, step, clerk):
        fate = play.fate
        made = fate.foreign if step.do == "foreign" else fate.tries[step.k]
        more = {"hold": True} if step.hold else {}
        clerk.say(made.gateway, step.do, fate.i, step.k, play.reference(step),
                  **more)
        return True

    def fire(self, play, step, clerk):
        order_no = play.fate.order_no
        try:
            clerk.link.insist(FIRE, (order_no, step.event,
                                     f"{step.event}-{order_no}"))
        except psycopg.Error as error:
            if not (step.refused and error.sqlstate == "PO001"):
                raise
            self.board.add("refused")
            return True
        if step.refused:
            self.board.add("errors")
            print(f"shop: {step.event} of {order_no} was not refused",
                  file=sys.stderr, flush=True)
        return True

    def refund(self, play, step, clerk):
        plan = play.fate.refunds[step.n]
        try:
            clerk.link.insist(REFUNDS if plan.over else REFUND, (
                plan.number, play.fate.order_no, plan.amount,
                "suspect" if plan.suspect else "returned goods"))
        except psycopg.Error as error:
            if not (plan.refused and error.sqlstate == "PO006"):
                raise
            self.board.add("refused")
            return True
        if plan.refused:
            self.board.add("errors")
            print(f"shop: refund {plan.number} was not refused",
                  file=sys.stderr, flush=True)
        return True

    def reprice(self, play, step, clerk):
        clerk.link.insist(REPRICE, (play.fate.order_no, play.fate.price))
        self.board.add("repriced")
        return True

    def broken(self, play, step, clerk):
        clerk.link.insist(BREAK, (play.fate.order_no,))
        return True


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    try:
        Shop(config).run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
