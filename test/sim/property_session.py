"""One of the property test's concurrent sessions: takes a story, makes its
next call in a transaction of its own, and writes down what came.

Most transactions are READ COMMITTED, some REPEATABLE READ or SERIALIZABLE;
some take their time before they commit, some make several calls, some are
rolled back on purpose and made again.  40001 and 40P01 roll the whole
transaction back and it is tried again.
"""

import random
import re
import threading
import time
from collections import Counter

import psycopg

import property_stories as stories
from property_calls import Complete, Create, Fail, Fire, Ingest

AGAIN = ("40001", "40P01")
REFUSALS = ("PO", "22", "55", "42501")
LEVELS = {6: "repeatable read", 7: "serializable"}


class Unexpected(Exception):
    """An error that no call may give."""

    def __init__(self, what, calls):
        super().__init__(f"{what}: {', '.join(c.told() for c in calls)}")
        self.subject = calls[0].subject


class Play:
    """A story on its way; told: its last call, if it was made."""

    def __init__(self, story):
        self.story, self.told, self.waits = story, None, False


class Gate:
    """Lets many through, or one alone."""

    def __init__(self):
        self.condition = threading.Condition()
        self.inside, self.alone = 0, False

    def enter(self, alone):
        with self.condition:
            self.condition.wait_for(
                lambda: not self.alone and not (alone and self.inside))
            self.inside += 1
            self.alone = alone

    def leave(self):
        with self.condition:
            self.inside -= 1
            self.alone = False
            self.condition.notify_all()


class Store:
    """The stories of a round, and the calls that were made."""

    def __init__(self, round_, rng):
        self.round, self.rng = round_, rng
        self.lock = threading.Lock()
        self.ready = []             # plays
        self.calls = []
        self.failure = None
        self.messages = 0
        self.goal = 0
        self.counts = Counter()
        self.known = {subject.number: subject.known
                      for subject in round_.subjects}
        self.window = 40
        self.locks = {}             # order_no: its gate
        self.subjects = {subject.number: subject
                         for subject in round_.subjects}

    def subject_of(self, call):
        """The order that a call is about; by the names of the transactions if
        it does not say."""
        if call.subject is None and isinstance(call, (Complete, Fail)):
            found = re.search(r"[0-9]+x[a-z]*[0-9]+",
                              call.claimed.payload.get("txn_id", ""))
            return "P" + found.group() if found else None
        return call.subject

    def gates(self, calls):
        """[(gate, whether alone)] of the orders that calls are about, in one
        order for all sessions."""
        wanted = {}
        for call in calls:
            name = self.subject_of(call)
            if name in self.known:
                # what is deferred for a pause takes no lock of the order, so
                # that the numbers would say nothing
                wanted[name] = wanted.get(name, False) or \
                    bool(self.round.paused) or self.subjects[name].serial or \
                    isinstance(call, Create) and \
                    not self.round.options.overlap
        with self.lock:
            return [(self.locks.setdefault(name, Gate()), wanted[name])
                    for name in sorted(wanted)]

    def take(self):
        """A story near the front: few orders at once, so that they meet."""
        with self.lock:
            if self.failure or self.messages >= self.goal or not self.ready:
                return None
            at = self.rng.randrange(min(self.window, len(self.ready)))
            return self.ready.pop(at)

    def give_back(self, play):
        """To the front; one that waits, anywhere, or it would bar the way."""
        with self.lock:
            near = len(self.ready) + 1
            if not play.waits:
                near = min(self.window, near)
            self.ready.insert(self.rng.randrange(near), play)

    def note(self, calls):
        with self.lock:
            self.calls += calls
            self.messages += sum(call.messages for call in calls)


class Session:
    def __init__(self, store, number, seed):
        self.store = store
        self.rng = random.Random(f"{seed}/session{number}")
        self.connection = psycopg.connect(
            autocommit=True, prepare_threshold=1,
            application_name=f"property {number}")
        level = LEVELS.get(number)
        if level:
            self.connection.execute(
                f"SET default_transaction_isolation = '{level}'")

    def close(self):
        self.connection.close()

    # ---- calls ----

    def statement(self, call):
        cursor = self.connection.execute(call.sql, call.params)
        return cursor.fetchall()

    def transaction(self, calls, linger):
        """Several calls in one transaction; what each said."""
        with self.connection.transaction():
            rows = []
            for call in calls:
                rows.append(self.statement(call))
                if linger:
                    time.sleep(linger)
            return rows

    def roll_back(self, call):
        """Made, and undone: this must leave nothing."""
        try:
            with self.connection.transaction(force_rollback=True):
                if self.rng.random() < 0.5:
                    with self.connection.transaction(force_rollback=True):
                        self.statement(call)
                self.statement(call)
            self.store.counts["rolled back"] += 1
        except psycopg.Error:
            pass

    def attempt(self, calls, linger):
        """Tries until there is an answer; None: payorder refused it."""
        for tries in range(1000):
            try:
                if len(calls) == 1 and not linger:
                    return [self.statement(calls[0])]
                return self.transaction(calls, linger)
            except psycopg.Error as error:
                state = error.sqlstate or ""
                self.store.counts[state] += 1
                if state == "40P01":
                    print(f"deadlock: {error.diag.message_detail}\n"
                          f"{error.diag.context}", flush=True)
                if state in AGAIN:
                    time.sleep(0.001 * min(tries, 20))
                    continue
                if state.startswith(REFUSALS):
                    return None
                raise Unexpected(f"{state} {error}", calls) from error
        raise Unexpected("tried too often", calls)

    def make(self, call):
        """Makes a call, perhaps with others; whether it was done."""
        store = self.store
        calls, linger = [call], 0
        dice = self.rng.random()
        if dice < 0.05:
            linger = self.rng.random() * 0.004
        elif dice < 0.12 and isinstance(call, Ingest) and \
                not store.round.paused:
            other = self.rng.choice(store.round.subjects)
            more = stories.again(other)
            if more is not None:
                calls.append(more)
            linger = self.rng.random() * 0.002
        gates = store.gates(calls)
        for gate, alone in gates:
            gate.enter(alone)
        try:
            if self.rng.random() < 0.03:
                self.roll_back(call)
            done = self.make_all(call, calls, linger)
            self.let_pass(call)
            return done
        finally:
            for gate, _ in gates:
                gate.leave()

    def let_pass(self, call):
        """The millisecond within which a brief order can be reopened."""
        if isinstance(call, Fire) and \
                self.store.subjects[call.subject].machine == "brief":
            time.sleep(0.003)

    def make_all(self, call, calls, linger):
        """In one transaction; if another is refused, the call alone."""
        began = time.monotonic()
        rows = self.attempt(calls, linger)
        if rows is None and len(calls) > 1:
            calls = [call]
            rows = self.attempt(calls, 0)
        if rows is None:
            return False
        made = []
        for one, result in zip(calls, rows):
            made += one.take(result)
        undecided = [one for one in made if isinstance(one, Ingest) and
                     one.answer[:2] == ("deferred", "undecided")]
        for one in undecided:       # nothing happened, nothing was kept
            made.remove(one)
            self.store.counts["undecided"] += 1
        for one in made:
            one.began, one.ended = began, time.monotonic()
            if isinstance(one, Ingest) and one.answer[1] != "invalid" and \
                    one.subject in self.store.known:
                self.store.known[one.subject].add(one.message.key)
        self.store.note(made)
        if call in undecided:
            return self.make_all(call, [call], 0)
        return True

    # ---- stories ----

    def run(self):
        store = self.store
        while (play := store.take()) is not None:
            try:
                self.step(play)
            except StopIteration:
                continue
            except Exception as error:
                with store.lock:
                    store.failure = store.failure or error
                return
            store.give_back(play)

    def step(self, play):
        """A story's next call."""
        call = play.story.send(play.told)
        play.waits = call is None
        play.told = call if call is not None and self.make(call) else None
