"""Calls of a client that keep the server busy.

A client that waits for each answer lets the server go to sleep between two
calls, and on a machine that has nothing else to do the waking of its core is
counted as the server's CPU time: up to 40 us a call in a virtual machine, more
than some calls take.  So here a client sends many calls ahead, by libpq's pipeline,
each a transaction of its own with all that belongs to it: protocol, parameters,
execution, commit, answer.  The first thing of each pipeline is a short sleep, in
which the rest arrives: what follows is done in one go, as by a server that has
work.
"""

import sys

import psycopg

AHEAD = 100         # calls that are sent at once
SLEEP = b"SELECT pg_sleep(0.03)"
OK = (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK)


def take(libpq):
    """The result of the next call of a pipeline, after which comes a sync."""
    result = libpq.get_result()
    if result is None or result.status not in OK:
        sys.exit(libpq.error_message.decode())
    while libpq.get_result() is not None:
        pass
    sync = libpq.get_result()
    if sync.status != psycopg.pq.ExecStatus.PIPELINE_SYNC:
        sys.exit(f"not in a pipeline: {sync.status}")
    return result


def pipelined(libpq, name, calls):
    """The results of a prepared statement for the parameters of many calls."""
    results = []
    for first in range(0, len(calls), AHEAD):
        libpq.enter_pipeline_mode()
        libpq.send_query_params(SLEEP, None)
        libpq.pipeline_sync()
        chunk = calls[first:first + AHEAD]
        for values in chunk:
            libpq.send_query_prepared(name, values)
            libpq.pipeline_sync()
        take(libpq)
        results += [take(libpq) for _ in chunk]
        libpq.exit_pipeline_mode()
    return results
