"""The property test of payorder.ingest: 8 sessions say random things about
random orders, and in the end all money must be where an independent model of
the law (model.py) says.

usage: property.py [--messages N] [--orders M] [--rounds R] [--seed S]
                   ...

Needs PG* of a private server with payorder installed.  Each round has fresh
orders and gateways and several phases: storms of concurrent sessions
(property_session.py) playing stories (property_stories.py, with
property_subjects.py and property_workers.py), between them what the director
does alone: sweeps, with time set forward, pausing and resuming
gateways, a user's trigger that raises.  Every call draws a number before its
commit (property_calls.py); told to the model in the order of these numbers,
each must get the same verdict, and after the round all tables must agree
(property_check.py).

Exit status 0: all agreed and every line that this size should meet was met.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
from collections import Counter

import psycopg

import property_stories as stories
import property_subjects as subjects
import property_workers as workers
from model import Gateway, Model, Refused
from property_calls import Alone, Complete, Ingest, RequestRefund
from property_check import Check, kernel_numbers
from property_session import Play, Session, Store, Unexpected

SESSIONS = 8
SHOWN = 12              # differences that are printed

SETTINGS = {
    # kind: (what payorder is told, what the model is told)
    "able": ({"parallel_attempts": True}, {"parallel_attempts": True}),
    "fussy": ({"parallel_attempts": True, "pay_id_pattern": "^pi_",
               "failed_is_final": False},
              {"parallel_attempts": True, "pay_id_pattern": "^pi_",
               "failed_is_final": False}),
    "strict": ({"require_attempt": True}, {"require_attempt": True}),
    "thrifty": ({"auto_return_per_hour": 0}, {}),
    "closed": ({"enabled": False}, {"enabled": False}),
}

PARTS = {
    "initial": "fresh",
    "parameters": {"pay_within": "15m", "cooling_off": "5m"},
    "states": {
        "fresh": {
            "on": {"pay": {"target": "full"}, "pay_part": {"target": "some"},
                   "cancel": [{"guard": "no_open_attempt", "target": "void"},
                              {"target": "winding"}],
                   "close": [{"guard": "no_open_attempt", "target": "lapsed"},
                             {"target": "winding"}]},
            "after": {"{pay_within}": {"fire": "close"}}},
        "some": {
            "on": {"pay": {"target": "full"}, "pay_part": {"target": "some"},
                   "cancel": {"target": "winding"},
                   "close": {"target": "winding"}},
            "after": {"{pay_within}": {"fire": "close"}}},
        "winding": {
            "on": {"pay": {"target": "full"},
                   "close_confirmed": {"target": "lapsed"}},
            "after": {"30m": {"fire": "close_confirmed"}}},
        "full": {
            "on": {"contest": {"target": "contested"},
                   "dispute": {"target": "contested"},
                   "refund_all": {"target": "giving_back"},
                   "refunded": {"target": "gone"}},
            "after": {"300d": {"alarm": "forgotten"}}},
        "contested": {
            "on": {"refunded": {"target": "gone"},
                   "refund_all": {"target": "giving_back"}},
            "after": {"300d": {"alarm": "forgotten"}}},
        "giving_back": {
            "entry": {"enqueue": "refund_all"},
            "on": {"refunded": {"target": "gone"}},
            "after": {"300d": {"alarm": "forgotten"}}},
        "lapsed": {"type": "final", "entry": {"enqueue": "refund_all"},
                   "on": {"reopen": {"target": "full", "within": "300d"}}},
        "void": {"type": "final"},
        "gone": {"type": "final"}}}

# which calls' errors are shown
ERRORS = """
SELECT gateway, txn_id, event, verdict, detail, error FROM payorder.callbacks
WHERE error IS NOT NULL AND gateway = ANY (%s)"""

LAW = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                   "order.machine.json")

# lines that every run of this size must meet
LINES = """5 5b 6 7 8 9 10 11 12_behind 13 14a 14b 15 16 17 18 20 21 22 23
23_noted 24 25 25_stale 27 27_unnamed 28 30 31 32 33 34 35 36 37 38 39 40
40_stale 8_other 13-19_reversed 13b 13b_late 18_part 25a 25a_stale 26
26_parked 29_parked 29_zero 29_less 41 41b 42 43 43_parked 43_more 44
44_parked 33_filled settled_applied settled_late settled_stale
refund_succeeded refund_failed refund_release refund_cancel
refund_keep""".split()


class Difference(Exception):
    pass


class Director:
    def __init__(self, options):
        self.options = options
        self.connection = psycopg.connect(autocommit=True)
        self.machines = {}
        self.lines = Counter()
        self.counts = Counter()

    def execute(self, sql, params=()):
        return self.connection.execute(sql, params)

    # ---- setting up ----

    def prepare(self):
        self.execute("CREATE EXTENSION IF NOT EXISTS payorder")
        self.execute("CREATE SEQUENCE property_order CACHE 1")
        self.execute("CREATE TABLE property_trouble (order_no text)")
        self.execute("""
            CREATE FUNCTION property_raise() RETURNS trigger LANGUAGE plpgsql
            AS $$
            BEGIN
                IF EXISTS (SELECT FROM public.property_trouble AS t
                           WHERE t.order_no = NEW.order_no) THEN
                    RAISE 'no';
                END IF;
                RETURN NULL;
            END $$""")
        self.execute("""
            CREATE TRIGGER property_raise AFTER UPDATE ON payorder.orders
            FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
            EXECUTE FUNCTION property_raise()""")
        (database,), = self.execute("SELECT current_database()").fetchall()
        self.execute(f'ALTER DATABASE "{database}" SET payorder.lock_wait = '
                     f"'{self.options.lock_wait}'")
        for kind in ("refund", "query_refund", "return", "close_payment",
                     "query_payment"):
            self.execute("SELECT payorder.define_task_kind(%s, "
                         "lease => '10 minutes', "
                         "max_attempts => 1000, backoff_list => '{1 ms}')",
                         (kind,))
        (definition,), = self.execute(
            "SELECT definition FROM payorder.machines WHERE name = 'order' "
            "ORDER BY version DESC LIMIT 1").fetchall()
        with open(os.environ.get("MACHINE") or LAW, encoding="utf-8") as file:
            if json.load(file) != definition:
                raise Difference("the installed machine is not the law's")
        self.machines["order"] = definition
        brief = json.loads(json.dumps(definition))
        brief["states"]["cancelled"]["on"] = {
            "reopen": {"target": "paid", "within": "1ms"}}
        self.define("brief", brief)
        self.define("parts", PARTS)

    def define(self, name, definition):
        self.execute("SELECT payorder.define_machine(%s, %s)",
                     (name, json.dumps(definition)))
        self.machines[name] = definition

    def open_round(self, number):
        """The round, its model, its store."""
        options = self.options
        round_ = subjects.Round(options.seed, number, options)
        round_.latest_payments = []
        gateways = []
        for kind, name in round_.gateways.items():
            said, told = SETTINGS[kind]
            self.execute("SELECT payorder.add_gateway(%s, 'generic', %s, "
                         "settings => %s)", (name, name, json.dumps(
                             {"return_delay": "0 seconds",
                              "auto_return_per_hour": 1000000, **said})))
            gateways.append(Gateway(name, **told))
        rng = round_.rng
        for i in range(options.orders // options.rounds):
            round_.subjects.append(subjects.Subject(
                round_, i, stories.draw_kind(rng)))
        store = Store(round_, rng)
        for subject in round_.subjects:
            store.ready += [Play(story) for story in stories.stories(subject)]
        return round_, Model(self.machines, gateways), store

    # ---- phases ----

    def watch(self, store, threads):
        """Waits for the sessions; says what they wait for if nothing moves."""
        count, since = None, time.monotonic()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
                if len(store.calls) != count:
                    count, since = len(store.calls), time.monotonic()
                elif time.monotonic() - since > 3:
                    since = time.monotonic() + 20
                    self.counts["stalls"] += 1
                    self.show_stall()

    def show_stall(self):
        print("nothing has moved for 3 seconds:")
        for row in self.execute("""
                SELECT pid, now() - xact_start, wait_event_type, wait_event,
                       pg_blocking_pids(pid), state, left(query, 60)
                FROM pg_stat_activity
                WHERE datname = current_database() AND state <> 'idle'"""):
            print("  ", *row)


    def storm(self, store, messages):
        """All sessions at once, until so many messages were said."""
        store.goal = store.messages + messages
        sessions = [Session(store, k, f"{self.options.seed}/"
                            f"{store.round.number}") for k in range(SESSIONS)]
        threads = [threading.Thread(target=session.run)
                   for session in sessions]
        for thread in threads:
            thread.start()
        self.watch(store, threads)
        for session in sessions:
            session.close()
        if store.failure:
            self.show_failure(store)
            raise store.failure

    def show_failure(self, store):
        """The calls of the order whose call gave an error."""
        print(f"seed {self.options.seed}: {store.failure}")
        subject = getattr(store.failure, "subject", None)
        for call in sorted(store.calls, key=lambda call: call.number):
            if subject and call.subject == subject:
                print(call)

    def alone(self, store, what, argument):
        call = Alone(None, what, argument)
        call.answer = ()
        (call.number,), = self.execute(
            "SELECT nextval('property_order')").fetchall()
        store.note([call])

    def sweep(self, store, minutes=0):
        """Until nothing is due, by one session."""
        for _ in range(300):
            timers, callbacks, tasks, failed, more = self.execute(
                "SELECT timers, callbacks, tasks, failed, more "
                "FROM payorder.sweep("
                "500, at => now() + %s * interval '1 minute')",
                (minutes,)).fetchone()
            if failed:
                self.show_failed(failed)
            if not (timers or callbacks or tasks or more):
                break
        else:
            print("note: a sweep does not come to an end", flush=True)
        self.alone(store, "sweep", minutes)

    def show_failed(self, failed):
        print(f"{failed} units of a sweep failed:")
        for row in self.execute(
                "SELECT order_no, state, tries, error FROM payorder.timers "
                "WHERE error IS NOT NULL"):
            print("  ", *row, flush=True)

    def pause(self, store, gateways):
        for gateway in gateways:
            self.execute("SELECT payorder.pause_gateway(%s, 'test', 'test')",
                         (gateway,))
            self.alone(store, "pause", gateway)
            store.round.paused.add(gateway)

    def resume(self, store):
        for gateway in sorted(store.round.paused):
            self.execute("SELECT payorder.resume_gateway(%s, 'test', 'test')",
                         (gateway,))
            self.alone(store, "resume", gateway)
        store.round.paused.clear()

    def trouble(self, store):
        """A user's trigger raises when these orders change their state."""
        round_ = store.round
        for i in range(3):
            o = subjects.Subject(round_, f"t{i}", "plain")
            o.machine, o.pay_within, o.cooling_off = "order", 144000, 144000
            round_.subjects.append(o)
            self.by_itself(store, o.create())
            o.created = True
            self.execute("INSERT INTO property_trouble VALUES (%s)",
                         (o.number,))
            self.alone(store, "trouble on", o.number)
            able = round_.gateways["able"]
            self.by_itself(store, o.pay(able, o.number, o.amount))
            if i > 0:
                self.by_itself(store, o.pay(able, o.number, o.amount))
            self.execute("DELETE FROM property_trouble")
            self.alone(store, "trouble off", o.number)
            if i == 1:
                self.by_itself(store, Ingest(o.number, o.sent[0]))
            elif i == 2:
                self.by_itself(store, o.message(
                    "refund", able, o.name("r"), None, 1, None,
                    payment_txn=o.sent[0].txn_id))

    def by_itself(self, store, call):
        store.note(call.take(self.execute(call.sql,
                                          call.params).fetchall()))

    def phase_ends(self, round_, store):
        round_.payments_before += round_.latest_payments
        round_.latest_payments = []
        round_.phase += 1
        round_.held = {}
        for order_no, number in self.execute(
                "SELECT order_no, refund_no FROM payorder.refunds WHERE "
                "state = 'held' AND gateway = ANY (%s)",
                (list(round_.gateways.values()),)):
            round_.held.setdefault(order_no, []).append(number)

    # ---- a round ----

    def play(self, number):
        round_, model, store = self.open_round(number)
        messages = self.options.messages // self.options.rounds
        began = time.monotonic()
        for k in range(4):
            store.ready.insert(0, Play(workers.worker(round_, k)))
        rng = round_.rng
        self.storm(store, messages * 45 // 100)
        self.phase_ends(round_, store)
        self.sweep(store)
        self.sweep(store, 20)
        self.storm(store, messages * 20 // 100)
        self.phase_ends(round_, store)
        self.sweep(store)
        if not self.options.no_pause:
            self.pause(store, [round_.gateways["able"],
                               round_.gateways["fussy"]][:rng.randint(1, 2)])
            self.storm(store, messages * 12 // 100)
            self.phase_ends(round_, store)
            self.sweep(store)
            if rng.random() < 0.5:
                self.sweep(store, 20)
            self.resume(store)
            if rng.random() < 0.7:
                self.sweep(store)
        self.storm(store, messages * 22 // 100)
        self.sweep(store)
        if not self.options.no_trouble:
            self.trouble(store)
            self.sweep(store, 5)
        self.sweep(store, 25)
        self.sweep(store, 240)
        said = time.monotonic() - began
        self.judge(round_, model, store)
        self.report(number, store, model, said, time.monotonic() - began)

    # ---- judging ----

    def judge(self, round_, model, store):
        """Tells the model all calls, and compares."""
        gateways = self.gateways = list(round_.gateways.values())
        calls = sorted(store.calls, key=lambda call: call.number)
        ours = {call.refund_no for call in calls
                if isinstance(call, RequestRefund)}
        model.kernel_numbers = {
            number: identity for number, identity in
            kernel_numbers(self.connection, gateways, ours).items()}
        for at, call in enumerate(calls):
            model.now = call.ended
            try:
                differs = call.tell(model)
            except Refused as error:
                differs = f"refused: {error}"
            if differs is not None:
                self.explain(calls[:at + 1], model, [(
                    call.subject, f"call {call.number}: database "
                    f"{call.answer}, model {differs}")])
        wrong = Check(self.connection, model, gateways, ours).all()
        if wrong:
            self.explain(calls, model, wrong)

    def explain(self, calls, model, wrong):
        """Prints the differences and the calls of the first order."""
        print(f"seed {self.options.seed}: {len(wrong)} differences")
        for order_no, what in wrong[:SHOWN]:
            print(f"  {order_no}: {what}")
        for row in self.execute(ERRORS, (self.gateways,)):
            print("  error:", *row)
        order_no = wrong[0][0]
        order = model.orders.get(order_no)
        if order is not None:
            print(f"{order_no}: {order.amount} {order.currency}, machine "
                  f"{order.machine.name}, {order.state} in the model")
        print("Its calls, and those that name it or its payments:")
        last = calls[-1]
        if isinstance(last, Complete) and order_no is None:
            names = {last.claimed.payload.get("txn_id")}
        else:
            names = {order_no}
            if order_no is None:        # "...: gateway:txn_id: ..."
                names |= set(wrong[0][1].replace(":", " ").split())
                for key, payment in model.payments.items():
                    if key[1] in names:
                        order = payment.order
                        print(f"  {key}: {payment.pots}")
        names |= {call.message.txn_id for call in calls
                              if call.subject == order_no and order_no and
                              isinstance(call, Ingest)}
        for call in calls[:-1]:
            if order_no and call.subject == order_no or \
                    isinstance(call, Alone) or \
                    isinstance(call, Ingest) and names & {
                        call.message.reference, call.message.payment_txn,
                        call.message.txn_id}:
                print(call)
        print(calls[-1])
        self.show_money(order, model)
        if self.options.log:
            with open(self.options.log, "w", encoding="utf-8") as file:
                for call in calls:
                    print(call.subject, call, file=file)
        print("Calls that took long:")
        for call in calls:
            if call.seconds > 1:
                print(call)
        raise Difference(f"seed {self.options.seed}: payorder and its model "
                         "differ")

    def show_money(self, order, model):
        """An order's payments and refunds, there and here."""
        for payment in order.payments if order else ():
            key = payment.gateway, payment.txn_id
            print(f"model {key} {payment.disposition} {payment.pots}")
            for one in payment.refunds:
                print(f"    {one.identity} {one.amount} {one.state} "
                      f"claimed={one.claimed}")
            for row in self.execute(
                    "SELECT refund_no, cause, amount, state, from_kept, "
                    "from_owed, from_review, requested_at FROM "
                    "payorder.refunds WHERE gateway = %s AND txn_id = %s "
                    "ORDER BY requested_at", key):
                print("    database", *row)

    def report(self, number, store, model, said, whole):
        self.lines += model.lines
        self.counts += store.counts
        shown = "  ".join(f"{line}:{count}" for line, count
                          in sorted(model.lines.items(), key=sort_key))
        print(f"round {number}: {store.messages} messages, "
              f"{len(store.calls)} calls, {len(model.orders)} orders, "
              f"{said:.0f} s ({store.messages / said:.0f}/s), judged in "
              f"{whole - said:.0f} s | {shown}", flush=True)

    def missing(self):
        wanted = list(LINES)
        if self.options.no_trouble:
            wanted = [line for line in wanted
                      if line not in ("20", "12_behind")]
        if self.options.no_pause:
            wanted.remove("10")
        return [line for line in wanted
                if not self.lines[line.replace("_", " ")]]

    def run(self):
        self.prepare()
        print(f"property: seed {self.options.seed}, {self.options.messages} "
              f"messages, {self.options.orders} orders, {self.options.rounds} "
              "rounds", flush=True)
        for number in range(self.options.first, self.options.rounds + 1):
            self.play(number)
        print("transactions: " + "  ".join(
            f"{name} {count}" for name, count in sorted(self.counts.items())))
        missing = self.missing()
        if missing:
            print("never met: " + " ".join(missing))
            return not self.options.all_lines
        return True


def sort_key(item):
    line = item[0]
    digits = "".join(c for c in line.split()[0].split("-")[0] if c.isdigit())
    return (int(digits) if digits else 99), line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=25000)
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1,
                        help="begin with this round")
    parser.add_argument("--seed", type=int,
                        default=random.randrange(1, 10 ** 6))
    parser.add_argument("--overlap", action="store_true",
                        help="let all messages overlap with the calls that "
                        "make known what they name")
    for name in ("no-pause", "no-trouble"):
        parser.add_argument("--" + name, action="store_true")
    parser.add_argument("--log", help="file for all calls of a round that "
                        "differs")
    parser.add_argument("--lock-wait", default="5s")
    parser.add_argument("--may-miss-lines", dest="all_lines",
                        action="store_false")
    options = parser.parse_args()
    try:
        return 0 if Director(options).run() else 1
    except (Difference, Unexpected, psycopg.Error) as error:
        print(f"property: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
