"""Shows how the demo goes: a bar, counts by verdict and by state.

In a terminal the three lines are drawn over again; elsewhere one line is
written every few seconds.
"""

import shutil
import sys
import time

WIDTH = 30
SPARSE = 10         # seconds between lines where there is no terminal

STATES = ("pending", "closing", "cancelling", "paid", "to_ship", "shipped",
          "refunding", "completed", "expired", "cancelled", "refunded")


def counts(pairs):
    return "  ".join(f"{name} {n:,}" for name, n in pairs if n)


class Progress:
    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.begin = time.monotonic()
        self.last = -SPARSE
        self.drawn = False

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def say(self, text):
        """A line that stays."""
        if self.drawn:
            sys.stdout.write("\x1b[3F\x1b[J")
            self.drawn = False
        print(text, flush=True)

    def show(self, done, total, verdicts, states):
        part = done / total if total else 1
        head = f"{self.seconds:4.0f} s  {done:,} of {total:,} orders over"
        states = counts((name, states.get(name, 0)) for name in STATES)
        if not self.terminal:
            if self.seconds - self.last < SPARSE:
                return
            self.last = self.seconds
            print(f"{head} | {counts(verdicts)} | {states}", flush=True)
            return
        full = int(part * WIDTH)
        lines = (f"[{'#' * full}{'.' * (WIDTH - full)}] {head}",
                 "  verdicts: " + counts(verdicts), "  states:   " + states)
        width = shutil.get_terminal_size().columns - 1
        if self.drawn:
            sys.stdout.write("\x1b[3F")
        for line in lines:
            sys.stdout.write("\r" + line[:width] + "\x1b[K\n")
        sys.stdout.flush()
        self.drawn = True
