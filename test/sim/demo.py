"""The main job, watched: `make demo`.

A simulated shop creates orders, five simulated gateways take the buyers'
money and call back as badly as gateways can, with messages signed as WeChat Pay,
Alipay, Stripe, Adyen and a till sign theirs, worker programs do the tasks,
people settle what nobody else can, and in the middle the server is killed.  In
the end every account must agree, and nothing may be left to settle.

This is the director: it sets up, starts the processes, shows how it goes,
kills and restarts the server, waits for the end, and judges.

Environment: SEED (default: random), ORDERS (default: 20000), PG* of a private
server with payorder installed, PGDATA and PGLOG to kill and start it by,
SECRETS, the folder that payorder.secret_directory names.

Exit status 0 only if everything is right.

What is where: stories.py what can happen to an order · fate.py its dice ·
shop.py, gateway.py (books.py, mail.py, channels.py, ledger.py), worker.py the
processes, and people.py · templates.py bodies that gateways send, signing.py
and keyring.py their signatures · endpoint.py how the shop takes them ·
decode.py gateways' answers · balance.py the judgement · board.py, link.py,
wire.py, setup.py, crash.py, progress.py, history.py helpers.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter

import psycopg

import balance
import crash
import history
import people
import setup
import stories
from board import VERDICTS, Board
from link import Again, Broken, Link, Stopped
from progress import Progress

HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAYS = ("wechat", "alipay", "stripe", "adyen", "till")
NEW_KEY_AFTER = 3       # seconds for which payorder doesn't know it
CREATE_FOR = 80         # seconds in which the orders come
PATIENCE = 360          # seconds after which the demo gives up
CLERKS, SENDERS, BURSTERS, WORKERS = 4, 2, 8, 2

STATES = "SELECT state, count(*) FROM payorder.orders GROUP BY state"
OPEN_TASKS = """
SELECT (SELECT count(*) FROM payorder.task_ready WHERE run_at < 'infinity')
     + (SELECT count(*) FROM payorder.task_leases)
"""
# what people can decide, and alarms that are still to come
LEFT = """
SELECT (SELECT count(*) FROM payorder.attention WHERE decisions <> '{}')
     + (SELECT count(*) FROM payorder.timers AS t
        JOIN payorder.orders AS o ON o.order_no = t.order_no
        JOIN payorder.state_timers AS s
          ON s.machine_id = o.machine_id AND s.state = o.state
         AND s.number = t.number
        WHERE t.kind = 'state' AND t.state = o.state AND s.action = 'alarm'
          AND t.due_at < pg_catalog.now() + '20 seconds')
"""


class Director:
    def __init__(self):
        self.seed = int(os.environ.get("SEED") or random.randrange(1, 10 ** 6))
        self.orders = int(os.environ.get("ORDERS") or 20000)
        self.folder = tempfile.mkdtemp(prefix="demo.")
        self.board = Board(os.path.join(self.folder, "board"), 0)
        self.config = self.make_config()
        self.link = Link(self.board, self.config["director"], "director")
        self.progress = Progress()
        self.processes = {}         # name: Popen
        self.incarnations = {}
        self.crash = None
        self.new_key_at = None      # when WeChat Pay began to sign with it
        self.fates = []
        self.complaints = open(os.path.join(self.folder, "errors"), "ab")

    def make_config(self):
        slots, rows = iter(range(128)), iter(range(1, 32))

        def take(n):
            return [next(slots) for _ in range(n)][0]

        config = {
            "seed": self.seed, "orders": self.orders,
            "keys": os.environ["SECRETS"],
            "rate": max(self.orders / CREATE_FOR, 100),
            "board": os.path.join(self.folder, "board"),
            "clerks": CLERKS, "senders": SENDERS, "bursters": BURSTERS,
            "director": take(1),
            "shop": {"row": next(rows), "slots": take(CLERKS + 2)},
            "people": {"row": next(rows), "slots": take(len(people.NAMES))},
            "gateways": {}, "workers": []}
        for name in GATEWAYS:
            config["gateways"][name] = {
                "row": next(rows), "slots": take(SENDERS + BURSTERS),
                "socket": os.path.join(self.folder, name + ".sock"),
                "ledger": os.path.join(self.folder, name + ".ledger")}
        for _ in range(WORKERS):
            config["workers"].append({"row": next(rows), "slots": take(1)})
        with open(os.path.join(self.folder, "config"), "w",
                  encoding="utf-8") as file:
            json.dump(config, file)
        return config

    # ---- processes ----

    def start(self, name, program, *args):
        self.processes[name] = subprocess.Popen(
            [sys.executable, os.path.join(HERE, program),
             os.path.join(self.folder, "config"), *map(str, args)],
            stdin=subprocess.DEVNULL,
            stderr=self.complaints)

    def start_all(self):
        for name in GATEWAYS:
            self.start(name, "gateway.py", name)
        for gateway in self.config["gateways"].values():
            self.wait(lambda: os.path.exists(gateway["socket"]),
                      "a gateway did not start")
        for n in range(WORKERS):
            self.start_worker(n)
        self.start("people", "people.py")
        self.start("shop", "shop.py")

    def start_worker(self, n):
        turn = self.incarnations[n] = self.incarnations.get(n, -1) + 1
        self.start(f"worker {n}", "worker.py", n, turn)

    def look_after(self):
        """Starts workers that died again; nobody else may end."""
        for n in range(WORKERS):
            if self.processes[f"worker {n}"].poll() is not None:
                self.start_worker(n)
        for name in (*GATEWAYS, "shop", "people"):
            if self.processes[name].poll() is not None:
                raise RuntimeError(f"the process of {name} ended")

    def stop_all(self):
        self.board.raise_flag("stop")
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait(self, condition, complaint, patience=30):
        until = time.monotonic() + patience
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(complaint)
            time.sleep(0.05)

    # ---- watching ----

    def ask(self, sql):
        try:
            return self.link.call(sql)
        except (Broken, Again):
            return None

    def over(self, states, wanted):
        """Whether nothing is left to be done."""
        if self.board.sum("played") < self.orders or \
                self.board.sum("outbox") > 0 or states != wanted:
            return False
        return all(rows is not None and rows[0][0] == 0
                   for rows in map(self.ask, (OPEN_TASKS, LEFT)))

    def watch(self):
        wanted = dict(Counter(fate.end for fate in self.fates))
        quiet = 0
        while self.progress.seconds < PATIENCE:
            self.look_after()
            self.ask(setup.HASTEN)
            states = dict(self.ask(STATES) or ())
            over = sum(min(states.get(state, 0), count)
                       for state, count in wanted.items())
            self.progress.show(over, self.orders, self.verdicts(), states)
            if self.crash is None and \
                    self.board.sum("created") >= self.orders / 2:
                self.kill_server()
            self.rotate_key()
            quiet = quiet + 1 if self.over(states, wanted) else 0
            if quiet == 3:          # also what came of the last task
                return True
            time.sleep(0.5)
        return False

    def verdicts(self):
        return [(name, self.board.sum(name)) for name in VERDICTS]

    def rotate_key(self):
        """WeChat Pay signs with a new key, some seconds before we know it."""
        if self.new_key_at is None:
            if self.board.sum("created") >= self.orders / 4:
                self.board.raise_flag("new_key")
                self.new_key_at = time.monotonic()
        elif self.new_key_at > 0 and \
                time.monotonic() - self.new_key_at > NEW_KEY_AFTER:
            setup.add_new_key(self.link, self.config["keys"])
            self.new_key_at = 0
            self.progress.say(
                f"{self.progress.seconds:4.0f} s  WeChat Pay's new key is "
                f"known, after {self.board.sum('unknown_key'):,} messages "
                "signed with it")

    def kill_server(self):
        self.crash = crash.kill_under_load(self.board)
        self.progress.say(
            f"{self.progress.seconds:4.0f} s  kill -9 of postmaster "
            f"{self.crash.pid} and its {self.crash.children} children with "
            f"{self.crash.in_flight} calls in flight")
        begin = time.monotonic()
        crash.start_again()
        self.crash.down_for = time.monotonic() - begin
        self.link.close()
        self.progress.say(f"{self.progress.seconds:4.0f} s  started again, "
                          f"after {self.crash.down_for:.1f} s")

    # ---- the whole ----

    def run(self):
        version = setup.prepare(self.link)
        print(f"payorder on PostgreSQL {version}: {self.orders:,} orders, "
              f"seed {self.seed} (again: make demo SEED={self.seed})\n",
              flush=True)
        self.fates = [stories.draw(self.seed, i) for i in range(self.orders)]
        self.progress = Progress()
        try:
            self.start_all()
            ended = self.watch()
        finally:
            self.stop_all()
        self.progress.say("")
        return self.judge(ended)

    def judge(self, ended):
        seconds = self.progress.seconds
        self.board.raise_flag("stop", 0)
        tables = balance.Tables(self.link)
        judgement = balance.Balance(tables, balance.read_ledgers(self.config),
                                    self.fates)
        judgement.check("everything came to its end in time",
                        [] if ended else [f"not within {PATIENCE} s"])
        judgement.check(
            f"the server was killed with {crash.WANTED} calls in flight",
            [] if self.crash and self.crash.in_flight >= crash.WANTED
            else [str(self.crash)])
        judgement.check("no program met an error it did not expect",
                        self.errors())
        judgement.check_all()
        for line in history.show(self.link, self.fates):
            print(line)
        for line in self.statistics(seconds):
            print(line)
        for line in judgement.report():
            print(line)
        print()
        for line in judgement.verdict():
            print(line)
        right = not judgement.failures
        print(f"\nseed {self.seed}, {self.orders:,} orders, "
              f"balance {judgement.digest()}, {seconds:.0f} s: "
              + ("everything is right" if right else "NOT RIGHT"), flush=True)
        return right

    def errors(self):
        with open(os.path.join(self.folder, "errors"),
                  encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip() for line in file if line.strip()]
        count = self.board.sum("errors")
        return [f"{count} errors"] * (count > 0) + lines

    def statistics(self, seconds):
        n = self.board.sum
        messages = max(n("messages"), 1)
        yield (f"Gateways: {n('messages'):,} callbacks, "
               f"{n('lost'):,} lost ({n('lost') * 100 / messages:.0f} %), "
               f"{n('repeated'):,} repeated "
               f"({n('repeated') * 100 / messages:.0f} %), "
               f"{n('bursts'):,} of them 64 times at once; "
               f"{n('acked'):,} acknowledgements, "
               f"{n('unacked'):,} sendings without one.")
        yield (f"Lies:     {n('lies'):,} messages spoilt, all to be refused; "
               f"{n('unknown_key'):,} real ones refused until their new key "
               f"was known.")
        yield (f"Workers:  {n('asked'):,} questions, {n('silent'):,} without "
               f"an answer; {n('deaths')} workers died, "
               f"{n('late_answers')} answers came too late and were refused.")
        yield (f"Shop:     {n('created'):,} orders, {n('begun'):,} payments "
               f"begun, {n('shipped'):,} shipped, {n('repriced'):,} repriced, "
               f"{n('refused'):,} wishes refused as they had to be.")
        yield (f"People:   {n('decisions'):,} decisions; {n('second'):,} times "
               f"one alone was not enough, {n('overtaken'):,} times a message "
               f"was faster.")
        yield (f"Database: {n('calls'):,} calls in {seconds:.0f} s "
               f"({n('calls') / seconds:.0f}/s), {n('broken'):,} broken by "
               f"the crash, {n('retried'):,} tried again.")
        yield ""


def main():
    director = Director()
    try:
        return 0 if director.run() else 1
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, psycopg.Error, Stopped) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        if os.environ.get("KEEP") == "1":
            print(f"kept: {director.folder}", file=sys.stderr)
        else:
            shutil.rmtree(director.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
