"""Times task queues; see run.

    measure.py TASKS ROUNDS
"""

import os
import statistics
import subprocess
import sys
import time

import psycopg

from bench import row, say

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = f"{HERE}/node_modules/node/bin/node"
BATCH, WORKERS = 50, 8
GOAL = 2.0
TICK = os.sysconf("SC_CLK_TCK")

# name, client, its environment
SYSTEMS = (
    ("payorder", "payorder", {}),
    ("graphile-worker", "graphile",
     {"LOCAL_QUEUE": "50", "CONCURRENT_JOBS": "8"}),
    ("pg-boss", "pgboss", {}),
    # beyond batches of 50, as graphile-worker's own figures were made
    ("graphile-worker, 500 at once", "graphile",
     {"LOCAL_QUEUE": "500", "CONCURRENT_JOBS": "24"}),
)


def stat(pid):
    """Fields of /proc/PID/stat, from the state on."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def cpu(pid):
    """CPU seconds of a process."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


class Server:
    """The server's CPU time: of its processes, and of those that ended."""

    def __init__(self):
        with open(f"{os.environ['PGDATA']}/postmaster.pid",
                  encoding="ascii") as file:
            self.pid = int(file.readline())

    def cpu(self):
        ended = stat(self.pid)
        total = (int(ended[13]) + int(ended[14])) / TICK
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and int(stat(name)[1]) == self.pid:
                    total += cpu(name)
            except OSError:
                pass    # it has ended
        return total


class Client:
    """One client process that does step by step what it is told."""

    def __init__(self, script, environment, database, tasks):
        self.process = subprocess.Popen(
            [NODE, f"{HERE}/{script}.mjs", str(tasks), str(BATCH),
             str(WORKERS)],
            env={**os.environ, **environment, "PGDATABASE": database},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            sys.exit(f"client said {line!r} instead of {word!r}")

    def do(self, step):
        self.process.stdin.write(step + "\n")
        self.process.stdin.flush()
        self.expect("done")

    def end(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("a client failed")


def measure(admin, server, system, tasks):
    """Seconds for enqueueing and for working, and CPU of server and client."""
    name, script, environment = system
    admin.execute("DROP DATABASE IF EXISTS bench")
    admin.execute("CREATE DATABASE bench")
    if script == "payorder":
        with psycopg.connect(dbname="bench", autocommit=True) as database:
            database.execute("CREATE EXTENSION payorder")
    client = Client(script, environment, "bench", tasks)
    admin.execute("CHECKPOINT")
    servers, clients = server.cpu(), cpu(client.process.pid)
    start = time.monotonic()
    client.do("enqueue")
    enqueued = time.monotonic()
    half = server.cpu()
    with psycopg.connect(dbname="bench", autocommit=True) as database:
        database.execute("VACUUM (ANALYZE)")
    middle = server.cpu()
    resumed = time.monotonic()
    client.do("work")
    worked = time.monotonic()
    taken = (enqueued - start, worked - resumed, half - servers,
             server.cpu() - middle, cpu(client.process.pid) - clients)
    client.end()
    say(f"{name}: enqueued in {taken[0]:.2f} s, worked in {taken[1]:.2f} s;"
        f" CPU s of the server {taken[2]:.2f} and {taken[3]:.2f},"
        f" of the client {taken[4]:.2f}")
    return taken


def main():
    tasks, rounds = map(int, sys.argv[1:])
    admin = psycopg.connect(autocommit=True)
    server = Server()
    times = {system[0]: [] for system in SYSTEMS}
    for turn in range(rounds):
        shift = turn % len(SYSTEMS)
        for system in SYSTEMS[shift:] + SYSTEMS[:shift]:
            times[system[0]].append(measure(admin, server, system, tasks))
    rates = {}
    say("| system | tasks/s | enqueued/s | worked/s"
        " | server CPU us a task | client's |\n|---|---|---|---|---|---|")
    details = []
    for name, taken in times.items():
        rates[name] = statistics.median(
            tasks / (enqueue + work) for enqueue, work, *_ in taken)
        enqueue, work, s1, s2, c = (statistics.median(column) / tasks
                                    for column in zip(*taken))
        say(f"| {name} | {rates[name]:,.0f} | {1 / enqueue:,.0f}"
            f" | {1 / work:,.0f} | {1e6 * (s1 + s2):.0f} | {1e6 * c:.0f} |")
        details.append(f"{name} {rates[name]:,.0f}/s,"
                       f" {1e6 * (s1 + s2):.0f} us of server CPU a task")
    ratio = rates["payorder"] / max(rates["graphile-worker"],
                                    rates["pg-boss"])
    row("tasks per second, 8 workers, batches of 50, against the better of"
        " graphile-worker and pg-boss", ratio, ">=", GOAL, "; ".join(details))


if __name__ == "__main__":
    main()
