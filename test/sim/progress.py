"""Shows how the demo goes: a bar, counts by verdict and by state.

In a terminal the lines are drawn over again; elsewhere one line is written
every few seconds.
"""

import shutil
import sys
import textwrap
import time

WIDTH = 30
SPARSE = 10         # seconds between lines where there is no terminal

STATES = ("pending", "part_paid", "closing", "cancelling", "paid",
          "to_ship", "shipped", "refunding", "completed", "expired", "cancelled", "refunded")


def counts(pairs):
    # a name and its number stay on one line
    return "  ".join(f"{name}\xa0{n:,}" for name, n in pairs if n)


class Progress:
    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.begin = time.monotonic()
        self.last = 0
        self.drawn = 0          # lines, to be drawn over

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def say(self, text):
        """A line that stays."""
        self.wipe()
        print(text, flush=True)

    def wipe(self):
        if self.drawn:
            sys.stdout.write(f"\x1b[{self.drawn}F\x1b[J")
            self.drawn = 0

    def show(self, done, total, verdicts, states):
        part = done / total if total else 1
        head = f"{self.seconds:4.0f} s  {done:,} of {total:,} orders over"
        states = counts((name, states.get(name, 0)) for name in STATES)
        if not self.terminal:
            if self.seconds - self.last < SPARSE:
                return
            self.last = self.seconds
            line = f"{head} | {counts(verdicts)} | {states}"
            print(line.replace("\xa0", " "), flush=True)
            return
        full = int(part * WIDTH)
        width = shutil.get_terminal_size().columns - 1
        lines = [f"[{'#' * full}{'.' * (WIDTH - full)}] {head}"[:width]]
        for name, text in (("verdicts", counts(verdicts)), ("states", states)):
            lines += textwrap.wrap(f"{name + ':':10}{text}", width,
                                   initial_indent="  ",
                                   subsequent_indent=" " * 12)
        self.wipe()
        sys.stdout.write("\n".join(lines).replace("\xa0", " ") + "\n")
        sys.stdout.flush()
        self.drawn = len(lines)
