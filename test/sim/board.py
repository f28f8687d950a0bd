"""A board of numbers that all processes of the demo share.

A file mapped into each process: one row of counters per process (only that
process writes it, so nothing gets lost), flags that the director raises, and
for each database connection the instant since which it waits for an answer.
The latter is how the director knows how many calls are in flight when it
kills the server, and that these very calls were still unanswered afterwards.
"""

import mmap
import os
import struct
import threading
import time

VERDICTS = ("applied", "duplicate", "conflict", "mismatch", "late", "excess",
            "parked", "deferred", "stale", "ignored", "rejected")
COUNTERS = VERDICTS + (
    "created", "begun", "played", "refused", "shipped", "repriced",     # shop
    "messages", "lost", "repeated", "bursts", "acked",          # gateways
    "outbox", "unacked", "conflicting", "lies", "unknown_key",
    "asked", "answered", "silent", "deaths", "late_answers",    # workers
    "decisions", "second", "overtaken",                         # people
    "calls", "broken", "retried", "errors")
FLAGS = ("stop", "hurry", "epoch", "new_key")
ROWS = 32
SLOTS = 128

CELL = struct.Struct("=q")
SLOT = struct.Struct("=d")
FLAGS_AT = ROWS * len(COUNTERS) * CELL.size
SLOTS_AT = FLAGS_AT + len(FLAGS) * CELL.size
SIZE = SLOTS_AT + SLOTS * SLOT.size
NUMBER = {name: n for n, name in enumerate(COUNTERS)}


class Board:
    def __init__(self, path, row=None):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(fd).st_size < SIZE:
                os.ftruncate(fd, SIZE)
            self.map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)
        self.row = row
        self.lock = threading.Lock()
        self.slots_used = 0

    # counters

    def _at(self, row, name):
        return (row * len(COUNTERS) + NUMBER[name]) * CELL.size

    def add(self, name, n=1):
        at = self._at(self.row, name)
        with self.lock:
            CELL.pack_into(self.map, at, CELL.unpack_from(self.map, at)[0] + n)

    def put(self, name, value):
        CELL.pack_into(self.map, self._at(self.row, name), value)

    def sum(self, name):
        return sum(CELL.unpack_from(self.map, self._at(row, name))[0]
                   for row in range(ROWS))

    # flags

    def _flag_at(self, name):
        return FLAGS_AT + FLAGS.index(name) * CELL.size

    def raise_flag(self, name, value=1):
        CELL.pack_into(self.map, self._flag_at(name), value)

    def flag(self, name):
        return CELL.unpack_from(self.map, self._flag_at(name))[0]

    @property
    def stopped(self):
        return self.flag("stop") != 0

    # calls in flight

    def take_slot(self, most):
        """A slot out of this row's share, which holds `most`."""
        with self.lock:
            slot = self.slots_used
            self.slots_used += 1
        if slot >= most:
            raise RuntimeError("no slot left for a connection")
        return slot

    def call_begins(self, slot):
        SLOT.pack_into(self.map, SLOTS_AT + slot * SLOT.size, time.monotonic())

    def call_ends(self, slot):
        SLOT.pack_into(self.map, SLOTS_AT + slot * SLOT.size, 0.0)

    def in_flight(self):
        """{slot: since} of the calls that wait for their answer."""
        found = {}
        for slot in range(SLOTS):
            since, = SLOT.unpack_from(self.map, SLOTS_AT + slot * SLOT.size)
            if since:
                found[slot] = since
        return found
