"""Compares what two schemas hold: rows, hash chains, and WAL that is written."""

import hashlib
import struct
from datetime import datetime, timezone

from bench import say

# Columns that are no facts of a call: times of the clock, numbers of sequences
# and of the transaction.
NO_FACTS = {"id", "txid", "task_id", "at", "hash", "updated_at", "created_at",
            "requested_at", "asked_at", "run_at", "finished_at", "due_at",
            "hour_began_at", "notified_at", "answered_at", "applied_at",
            "received_at", "decided_at", "arrived_at", "arrival", "next_at"}


def facts(connection, schema, table):
    """The rows of a table, as sorted JSON without what is no fact."""
    columns = connection.execute(
        """SELECT a.attname FROM pg_attribute AS a
           WHERE a.attrelid = %s::regclass AND a.attnum > 0
             AND NOT a.attisdropped ORDER BY a.attnum""",
        (f"{schema}.{table}",)).fetchall()
    chosen = ", ".join(f'"{name}"' for name, in columns
                       if name not in NO_FACTS)
    return connection.execute(
        f"""SELECT to_json(r)::text FROM (SELECT {chosen}
            FROM {schema}.{table}) AS r ORDER BY 1""").fetchall()


def differences(connection, schemas, tables):
    """A line for each table whose rows differ."""
    lines = []
    for table in tables:
        left, right = (facts(connection, schema, table) for schema in schemas)
        if left != right:
            odd = sorted(set(left) ^ set(right))[:2]
            lines.append(f"rows of {table} differ: {odd}")
    return lines


def digest_of(before, event):
    """An event's hash, as src/event.c describes it."""
    epoch = datetime(2000, 1, 1, tzinfo=timezone.utc)
    (number, seq, name, from_state, to_state, actor, source, reason, payload,
     request_id, trace, gateway, txn_id, at) = event
    past = at - epoch
    micros = (past.days * 86400 + past.seconds) * 1000000 + past.microseconds
    fields = [number.encode(), struct.pack(">q", seq)]
    fields += [text if text is None else text.encode() for text in
               (name, from_state, to_state, actor, source, reason)]
    fields += [None if payload is None
               else hashlib.sha256(payload.encode()).digest()]
    fields += [text if text is None else text.encode() for text in
               (request_id, trace, gateway, txn_id)]
    fields += [struct.pack(">q", micros)]
    data = b"\x01" + before
    for field in fields:
        data += b"\x00" if field is None else (
            b"\x01" + struct.pack(">I", len(field)) + field)
    return hashlib.sha256(data).digest()


def broken_chains(connection, schema, last_order):
    """Events up to an order whose number or hash is wrong."""
    broken, before, last, seq = 0, b"", None, 0
    for *event, digest in connection.execute(
            f"""SELECT order_no, seq, event, from_state, to_state, actor,
                       source, reason, payload::text, request_id, trace,
                       gateway, txn_id, at, hash
                FROM {schema}.events WHERE order_no <= %s
                ORDER BY order_no, seq""", (last_order,)):
        if event[0] != last:
            last, before, seq = event[0], bytes(32), 0
        seq += 1
        broken += event[1] != seq or digest != digest_of(before, event)
        before = digest
    return broken


def wal_of(connection, calls):
    """Records by kind, and bytes of WAL, without full pages, per call."""
    start = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    for call in calls:
        call()
    connection.execute("SELECT pg_switch_wal()")
    rows = connection.execute(
        """SELECT "resource_manager/record_type", count, record_size
           FROM pg_get_wal_stats(%s, pg_current_wal_lsn(), true)
           WHERE count > 0 AND "resource_manager/record_type" !~
                 '^(XLOG|Standby)'""", start).fetchall()
    return ({name: count / len(calls) for name, count, _ in rows},
            sum(size for _, _, size in rows) / len(calls))


def say_wal(left, right, names):
    """Prints two results of wal_of() side by side."""
    say(f"\n| WAL per call | {names[0]} | {names[1]} |\n|---|---|---|")
    for kind in sorted(left[0].keys() | right[0].keys()):
        say(f"| {kind} | {left[0].get(kind, 0):.2f}"
            f" | {right[0].get(kind, 0):.2f} |")
    say(f"| records | {sum(left[0].values()):.2f}"
        f" | {sum(right[0].values()):.2f} |")
    say(f"| bytes, without full pages | {left[1]:.0f} | {right[1]:.0f} |\n")
