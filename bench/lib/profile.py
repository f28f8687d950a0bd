"""Prints where the instructions of a call go, from what BENCH_PROFILE kept.

    profile.py FOLDER/callgrind.SCHEMA [LIBRARY]

For each function of a library (default payorder.so), and for those of the server
that are asked for most, the instructions per call with all that they call: the
profile of 300 calls less that of 100.  See instructions.py.
"""

import re
import subprocess
import sys

LEAST = 2000        # instructions of a call that are worth a line
SERVER = ("SPI_execute_plan", "standard_ExecutorStart", "standard_ExecutorRun",
          "standard_ExecutorFinish", "standard_ExecutorEnd", "ExecInitNode",
          "GetCachedPlan", "CommitTransaction", "StartTransaction",
          "BeginInternalSubTransaction", "ReleaseCurrentSubTransaction",
          "heap_insert", "heap_update", "heap_lock_tuple", "index_insert",
          "ExecInsertIndexTuples", "XLogInsert", "AfterTriggerEndQuery",
          "ExecConstraints", "stringToNode", "LockRelationOid",
          "GetSnapshotData", "RelationGetIndexList",
          "heap_page_prune_opt", "index_beginscan", "index_getnext_slot",
          "RegisterSnapshot", "GetTransactionSnapshot",
          "exec_simple_query", "PortalRun", "CatCacheInvalidate")


def inclusive(profile):
    """Instructions by function and object, with all that they call."""
    text = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100",
         "--show-percs=no", profile],
        text=True, check=True, capture_output=True).stdout
    found = {}
    for line in text.splitlines():
        match = re.match(r" *([0-9,]+) +\S*?:(\S+) \[(\S+)\]", line)
        if match:
            key = (re.sub("'.*", "", match[2]), match[3].rsplit("/", 1)[-1])
            count = int(match[1].replace(",", ""))
            found[key] = max(found.get(key, 0), count)
    total = re.search(r"^([0-9,]+) .*PROGRAM TOTALS", text, re.M)[1]
    return found, int(total.replace(",", ""))


def main():
    library = sys.argv[2] if len(sys.argv) > 2 else "payorder.so"
    (many, all_many), (few, all_few) = (inclusive(f"{sys.argv[1]}.{count}")
                                        for count in (300, 100))
    total = (all_many - all_few) / 200
    print(f"| with all that it calls | instructions | of {total:,.0f} |")
    print("|---|---|---|")
    lines = [((count - few.get(key, 0)) / 200, key)
             for key, count in many.items()
             if key[1] == library or key[0] in SERVER]
    for count, (name, place) in sorted(lines, reverse=True):
        if count >= LEAST:
            print(f"| `{name}`{'' if place == library else ' (server)'}"
                  f" | {count:,.0f} | {count / total:.1%} |")


if __name__ == "__main__":
    main()
