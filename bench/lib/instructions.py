"""Counts instructions with valgrind's callgrind and a single-user server, which
is slow, but the same on a busy machine.  The server of PGDATA is stopped."""

import os
import re
import shutil
import subprocess
import sys


def instructions(statements, answer, profile=None):
    """Instructions of a single-user session that runs some statements, each
    of which must print `answer`; the profile is kept where one is named."""
    data, found = (f"{os.environ['TMPDIR']}/{name}"
                   for name in ("counted", "callgrind.out"))
    shutil.copytree(os.environ["PGDATA"], data, dirs_exist_ok=False)
    bindir = subprocess.run([os.environ["PG_CONFIG"], "--bindir"], text=True,
                            check=True, capture_output=True).stdout.strip()
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={found}",
         f"{bindir}/postgres", "--single", "-D", data, "postgres"],
        input="".join(f"{text}\n" for text in statements), text=True,
        check=True, capture_output=True)
    shutil.rmtree(data)
    if ran.stdout.count(answer) < len(statements) - 1:
        sys.exit(ran.stdout + ran.stderr)
    with open(found, encoding="utf-8") as file:
        total = int(re.search(r"^totals: (\d+)", file.read(), re.M)[1])
    if profile is not None:
        shutil.copy(found, profile)
    return total


def per_call(prepare, call, answer, first, name):
    """Instructions of a call: of 300 calls less those of 100.  The first calls
    make plans, and choose those that are kept.  Where BENCH_PROFILE names a folder,
    the profiles go there, for callgrind_annotate."""
    totals = {}
    for count in (100, 300):
        numbers = [*range(12), *range(50, 50 + count)]
        folder = os.environ.get("BENCH_PROFILE")
        totals[count] = instructions(
            [prepare, *(call(first + n) for n in numbers)], answer,
            folder and f"{folder}/callgrind.{name}.{count}")
    return (totals[300] - totals[100]) / 200
