"""Kills the server under load and starts it again.

The postmaster gets SIGKILL while at least WANTED calls wait for their answer,
and so do its children, so that those calls are cut and not finished by
orphans.  What proves the number: calls that were begun before the kill and
had no answer just after it.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass

WANTED = 8
MARGIN = 3


@dataclass
class Crash:
    pid: int
    in_flight: int
    children: int
    down_for: float = 0


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry))
    return found


def kill_under_load(board, patience=10):
    """Waits for enough calls in flight and kills; returns a Crash."""
    with open(os.path.join(os.environ["PGDATA"], "postmaster.pid"),
              encoding="utf-8") as file:
        pid = int(file.readline())
    board.raise_flag("hurry")
    children = children_of(pid)
    until = time.monotonic() + patience
    while True:
        before = board.in_flight()
        if len(before) >= WANTED + MARGIN or time.monotonic() > until:
            break
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    after = board.in_flight()
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    board.raise_flag("hurry", 0)
    cut = sum(after.get(slot) == since for slot, since in before.items())
    return Crash(pid, cut, len(children))


def start_again(patience=60):
    """Starts the server; an old backend may keep it from that for a while."""
    begin = time.monotonic()
    while time.monotonic() - begin < patience:
        done = subprocess.run(
            ["pg_ctl", "-s", "-w", "-l", os.environ["PGLOG"], "start"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError("the server did not start again; see PGLOG")
