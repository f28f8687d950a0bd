"""What the benches have in common: lines for bench/run, and CPU time.

A bench's own tables go to stderr by say(); what it found out about a promise
goes to stdout by row(), as bench/run wants it.
"""

import os
import statistics
import sys

SMALL = os.environ.get("BENCH_SIZE") == "small"


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def number(value):
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def row(what, ratio, sign, goal, detail):
    """Prints how a promise was kept; whether it was."""
    met = ratio >= goal if sign == ">=" else ratio <= goal
    shown = f"{goal:.3f}".removesuffix("0")
    print("ROW", what, number(ratio), f"{sign} {shown}",
          "met" if met else "missed", detail, sep="\t", flush=True)
    return met


def info(what, value, goal, detail):
    """Prints something that no promise is about as a ratio."""
    print("ROW", what, value, goal, "info", detail, sep="\t", flush=True)


def cpu(pid):
    """CPU time that a process has had, in microseconds."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e3


def by_turns(contestants, measure, rounds):
    """Has each measured once a round, in another order each, after a first
    round to warm up; the measurements of each, in the order given."""
    taken = [[] for _ in contestants]
    count = len(contestants)
    for turn in range(rounds + 1):
        for place in range(count):
            which = (turn + place) % count
            value = measure(contestants[which])
            if turn > 0:
                taken[which].append(value)
    return taken


def ratio_of(over, under):
    """The median of what two have taken side by side in each round."""
    return statistics.median(a / b for a, b in zip(over, under))
