"""What test_hostile.py hands to every argument of every function.

ordinary() is what a caller would say, by the argument's name, so that a call
with one hostile argument gets as far as it can; extremes() are the hostile
ones, by the argument's type.  All are SQL expressions.  mutations() are JSON
documents that are almost right, drawn by a seed.
"""

import copy
import json
import random

MACHINE = {
    "initial": "new", "parameters": {"patience": "1d"}, "states": {
        "new": {"on": {"pay": {"target": "paid"},
                       "cancel": [{"target": "gone", "guard": "no_open_attempt"},
                                  {"target": "gone", "alarm": "why"}]},
                "after": {"{patience}": {"fire": "cancel"},
                          "3d": {"alarm": "slow", "retry": "1d"}}},
        "paid": {"entry": {"enqueue": "mail"}, "on": {
            "refund_all": {"target": "back"},
            "reopen": {"target": "paid", "within": "1h"}},
            "after": {"9d": {"fire": "refund_all"}}},
        "back": {"entry": {"enqueue": "refund_all"},
                 "on": {"refunded": {"target": "gone"}},
                 "after": {"9d": {"alarm": "slow"}}},
        "gone": {"type": "final"}}}

MESSAGE = {"gateway": "g", "txn_id": "t-new", "event": "pay", "order_no": "H-open",
           "amount": 100, "currency": "CNY", "occurred_at": "2026-01-01T00:00:00Z",
           "payload": {"id": "1"}, "source": "callback"}

# What a JSON argument is in earnest, by routine and name.
DOCUMENTS = {
    ("define_machine", "definition"): MACHINE,
    ("ingest_batch", "messages"): [MESSAGE, {
        "gateway": "g", "txn_id": "r-new", "event": "refund", "amount": 40,
        "currency": "CNY", "refund_no": "HFASKED01", "payment_txn": "t-asked",
        "amount_is_total": True}],
    ("complete", "result"): {
        "messages": [{"txn_id": "r1", "event": "refund", "amount": 40,
                      "currency": "CNY", "refund_no": "HFASKED01",
                      "payment_txn": "t-asked", "occurred_at": "2026-01-01T00:00:00Z",
                      "amount_is_total": False, "payload": {"id": 1}}],
        "unknown": False, "already_paid": False, "confirmed": [], "note": "n"},
    ("add_gateway", "settings"): {
        "pay_id_pattern": "^[a-z]+$", "return_delay": "1 min",
        "auto_return_per_hour": 5, "idempotency_window": "1 day",
        "failed_is_final": True, "parallel_attempts": False},
    ("set_refund_limits", "limits"): {
        "max_age": "1 day", "max_count": 3, "smallest_amount": 1,
        "share_per_hour": 0.5, "second_person_above": 1000},
    ("create_order", "items"): [{"sku": "a", "quantity": 1}],
    ("create_order", "attributes"): {"a": 1},
    ("enqueue", "payload"): {"to": "them"},
    ("fire", "payload"): {"why": "so"},
    ("ingest", "payload"): {"id": "EV-1"},
    ("ingest_http", "headers"): {"Stripe-Signature": "t=1,v1=00"},
    ("decode_http", "headers"): {"Stripe-Signature": "t=1,v1=00"},
}
DOCUMENTS["alter_gateway", "settings"] = DOCUMENTS["add_gateway", "settings"]
DOCUMENTS["try_fire", "payload"] = DOCUMENTS["fire", "payload"]

# What an argument is in earnest, by name, where its routine is not named.
ORDINARY = {
    "order_no": "'H-open'", "amount": "100", "currency": "'CNY'", "machine": "'order'",
    "gateway": "'g'", "txn_id": "'t-new'", "event": "'pay'", "actor": "'anna'",
    "reason": "'because'", "name": "'order'", "version": "1", "from_version": "1",
    "to_version": "2", "consumer": "'outbox'", "kind": "'mail'", "worker": "'w'",
    "refund_no": "'HFNEW0001'", "state_column": "'state'", "format": "'dot'",
    "relation": "'public.hostile_tickets'", "key_column": "'id'", "from_state": "'pending'",
    "to_state": "'paid'", "merchant_id": "'m'", "adapter": "'generic'", "schedule": "'* * * * *'",
    "error": "'no'", "since": "'-infinity'", "machine_id": "1", "from_id": "1", "to_id": "1",
    "after": "''", "batch": "10", "max_orders": "10", "max_tasks": "2", "slot": "1",
    "payment": "NULL", "payment_txn": "NULL", "request_id": "'r1'", "dedup_key": "'k'",
    "handler": "NULL", "source": "'callback'", "app_scope": "''", "decision": "'keep'",
    "position": "'@position@'", "from_mark": "NULL", "to_mark": "NULL", "expected_version": "NULL",
    "occurred_at": "now()", "longest": "'0'", "backoff_list": "'{1 s,2 s}'", "refused": "'{}'",
    "kinds": "NULL", "gateways": "NULL", "pay_within": "'1 hour'", "cooling_off": "'1 hour'",
    "key_id": "'k'", "purpose": "'verify'", "public_key": "'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5/EuX9ouiOj5ApxR78rDh3tox1lLFgNth/PCkZJ2FfcOTs/TZdnOF4atN6myV76/bzU7GIac88OrFuN7PZsZpQH+CPRjvhoZFnxg4/8ovtikskoEr+KA4psIFCBomyTYtDHeNYiz1Z3H9YicAlcp4U2DBdeWOhK3aNMiLVms3w4TUhdfJu2O9Jn+ciwiJO358CiM3C3sDyiwES8xaOLBkERc/RY7rcHSNVAgJIvFLHgIqoJbXR+8dhxlEzysXWyntj477woXpGZ1WcbxUwjcZ/YbXbtXwR+K+YoIogeMoukredioB1Qj8d7A41WP1COuJbNq9/CwBWYBntfp8dI5zQIDAQAB'", "secret": "NULL", "valid_from": "NULL", "valid_until": "NULL",
    "overlap": "'1 day'", "old_key": "'env:PAYORDER_TEST_NOT_THERE'",
    "lease": "'1 min'", "parallel": "false", "log": "true", "moved": "0",
}
OF_ROUTINE = {
    ("parse_amount", "amount"): "'19.90'",
    ("create_order", "order_no"): "'H-new'",
    ("add_gateway", "gateway"): "'new'",
    ("add_gateway_key", "gateway"): "'w'", ("rotate_gateway_key", "gateway"): "'w'",
    ("retire_gateway_key", "gateway"): "'w'", ("check_gateway_keys", "gateway"): "'w'",
    ("retire_gateway_key", "key_id"): "'old'", ("seal_secret", "source"): "'env:PAYORDER_TEST_NOT_THERE'",
    ("ingest_http", "gateway"): "'s'", ("decode_http", "gateway"): "'s'", ("ingest_waiting", "gateway"): "'s'",
    ("check_gateway", "gateway"): "'s'", ("adapter_defaults", "adapter"): "'stripe'", ("decode_http", "at"): "NULL",
    ("ingest", "event"): "'pay'",
    ("fire", "event"): "'cancel'",
    ("try_fire", "event"): "'cancel'",
    ("guard", "machine"): "'ticket'",
    ("define_machine", "name"): "'hostile'",
    ("migrate_orders", "name"): "'parcel'",
    ("migrate_some", "name"): "'parcel'",
    ("migrate_order", "order_no"): "'H-parcel'",
    ("request_refund", "order_no"): "'H-paid'",
    ("request_refund", "amount"): "30",
    ("request_refunds", "order_no"): "'H-paid'",
    ("request_refunds", "amount"): "30",
    ("request_refunds", "refund_no"): "'HFNEW_02'",
    ("settle_callback", "txn_id"): "'t-more'",
    ("settle_callback", "order_no"): "NULL",
    ("settle_refund", "refund_no"): "'HFHELD001'",
    ("settle_refund", "decision"): "'release'",
    ("retry_callback", "txn_id"): "'t-lost'",
    ("complete", "task"): "@refund_task@", ("complete", "token"): "@refund_token@",
    ("fail", "task"): "@mail_task@", ("fail", "token"): "@mail_token@",
    ("heartbeat", "task"): "@mail_task@", ("heartbeat", "token"): "@mail_token@",
    ("cancel_task", "task"): "@ready_task@", ("retry_dead", "task"): "@dead_task@",
    ("set_task_limit", "kind"): "NULL", ("set_task_limit", "max_running"): "4",
    ("seek_events", "at"): "NULL", ("seek_events", "first_id"): "1",
    ("set_refund_limits", "machine"): "NULL",
    ("define_task_kind", "kind"): "'letter'",
    ("complete_batch", "tasks"): "ARRAY[@mail_task@]", ("complete_batch", "tokens"): "ARRAY[@mail_token@]",
    ("complete_batch", "results"): "NULL",
    ("enqueue_batch", "payloads"): "'{\"{}\",NULL}'", ("enqueue_batch", "order_nos"): "'{H-open,H-paid}'",
    ("run_handler", "task"): "@mail_task@", ("run_handler", "token"): "@mail_token@",
    ("purge_some", "position"): "NULL", ("purge_some", "older_than"): "'1 day'", ("purge", "older_than"): "'1 day'",
}

BY_TYPE = {"text": "'x'", "integer": "1", "bigint": "1", "boolean": "false", "json": "'{}'", "jsonb": "'{}'",
           "interval": "'1 min'", "timestamp with time zone": "now()", "text[]": "NULL", "interval[]": "NULL",
           "bigint[]": "'{1}'", "json[]": "'{\"{}\"}'", "regclass": "'public.hostile_tickets'", "oid": "0", "bytea": "'{\"id\": 1}'"}

DEEP_ARRAY = "(repeat('[', 10000) || repeat(']', 10000))"
DEEP_OBJECT = "(repeat('{\"a\":', 10000) || '1' || repeat('}', 10000))"
LONG = "repeat('x', 1000000)"
JSON = [
    "'null'", "'true'", "'0'", "'-0'", "'1e400'", "'\"\"'", "'\"x\"'", "'[]'", "'{}'", "'[[]]'", "'[null]'", "'{\"\": null}'",
    "'{\"a\": 1, \"a\": 2}'", "'[1, {\"gateway\": \"g\"}]'", "'{\"messages\": 1}'", "'{\"messages\": [[]]}'",
    DEEP_ARRAY, DEEP_OBJECT, f"('{{\"a\": \"' || {LONG} || '\"}}')", f"('{{\"' || {LONG} || '\": 1}}')",
    "('[' || repeat('1,', 100000) || '1]')", "('[' || repeat('{},', 20000) || '{}]')",
    "('{' || (SELECT string_agg(format('\"k%s\": %s', i, i), ',') FROM generate_series(1, 20000) AS i) || '}')",
]
EXTREMES = {
    "bytea": ["''", "'\\x00'", "'\\xff'", "'\\xc3'", "'{'", "'null'", "'{\"a\": 1, \"a\": 2}'", "convert_to(repeat('[', 100000), 'UTF8')",
              "decode(repeat('00', 300000), 'hex')", "convert_to(repeat('a=1&', 60000), 'UTF8')", "decode(repeat('ff', 5000000), 'hex')"],
    "text": [
        "''", "' '", "'x'", LONG, "repeat('x', 128)", "repeat('x', 129)", "repeat(U&'\\20AC', 43)", "repeat(U&'\\+01F600', 64)",
        "E'a\\nb'", "E'\\r\\n'", "E'\\t'", "E'\\x7f'", "U&'\\200B'", "U&'\\FEFF'", "U&'a\\0301'", "U&'\\202Eabc'", "U&'\\00A0'",
        "'%s%n%d%*d'", "$q$'\";--$q$", "'\\'", "'{}'", "'{'", "'[1'", "'null'", "'NaN'", "'-1'", "'0'", "'1e400'", "'infinity'",
        "'9223372036854775808'", "repeat('9', 400)", "'pg_catalog.now'", "'order'", "'g'", "'g:t:pay'", "'a:b'", "'*'", "'../x'",
        "repeat('(', 1000)", "'1:1'", "'-1:-1:-1'", "'9223372036854775807:9223372036854775807:1'", "repeat('1:', 1000)"],
    "bigint": ["0", "-1", "1", "9223372036854775807", "-9223372036854775808", "4294967296", "2147483648"],
    "integer": ["0", "-1", "1", "2147483647", "-2147483648", "63", "64", "100001"],
    "boolean": ["true", "false"],
    "interval": [
        "'0'", "'-1 second'", "'1 microsecond'", "'-1 microsecond'", "'366 days'", "'367 days'", "'1 mon -31 days'", "'-1 mon 31 days'",
        "'178000000 years'", "'-178000000 years'", "'2147483647 days'", "'-2147483648 days'", "'2562047788 hours'", "'1 year'",
        "'366 days 1 microsecond'", "'-infinity'", "'infinity'"],
    "timestamp with time zone": [
        "'infinity'", "'-infinity'", "'4714-11-24 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'", "'1970-01-01 00:00:00+00'", "now()",
        "'2000-01-01 00:00:00+00'", "'9999-12-31 23:59:59+00'", "'294276-12-31 23:59:59.999999+00'::timestamptz - interval '1 hour'"],
    "json": JSON + ["'{\"a\": \"\\u0000\"}'", "'{\"a\": \"\\ud800\"}'", "'{\"\\ud800\": 1}'", "'\"\\u0000\"'"],
    "jsonb": JSON,
    "text[]": [
        "'{}'", "'{NULL}'", "'{\"\"}'", "'{a,NULL,a}'", "'{{a,b},{c,d}}'", "'[5:6]={a,b}'", "'[-2147483647:-2147483646]={a,b}'",
        "array_fill('x'::text, ARRAY[100000])", f"ARRAY[{LONG}]", "array_fill(NULL::text, ARRAY[100,100])", "'{{{{{{x}}}}}}'", "'{mail}'"],
    "interval[]": [
        "'{}'", "'{NULL}'", "'{1 s,NULL}'", "'{{1 s,2 s},{3 s,4 s}}'", "'[5:6]={1 s,2 s}'", "'{0}'", "'{-1 s}'", "'{1 s,400 days}'",
        "'{178000000 years}'", "array_fill('1 s'::interval, ARRAY[100000])", "array_fill('1 s'::interval, ARRAY[10,10])", "'{infinity}'"],
    "bigint[]": [
        "'{}'", "'{NULL}'", "'{-1,0}'", "'{9223372036854775807,-9223372036854775808}'", "'{1,1,1}'", "'{{1,2},{3,4}}'", "'[5:6]={1,2}'",
        "array_fill(1::bigint, ARRAY[100000])", "array_fill(NULL::bigint, ARRAY[1000])"],
    "json[]": [
        "'{}'", "'{NULL}'", "'{\"{}\",\"[]\",\"1\"}'", "'{{\"{}\"},{\"1\"}}'", "array_fill('{}'::json, ARRAY[100000])", f"ARRAY[{DEEP_ARRAY}::json]",
        f"ARRAY[{DEEP_OBJECT}::json]", "ARRAY['{\"a\": \"\\u0000\"}'::json]", "ARRAY['{\"a\": 1, \"a\": 2}'::json]"],
    "regclass": [
        "0", "4294967295", "'pg_class'", "'pg_class_oid_index'", "'payorder.orders'", "'payorder.attention'", "'payorder.task_ids'",
        "'payorder.events'", "'payorder.events_07'", "'payorder.order_info'", "'pg_toast.pg_toast_1255'", "'public.hostile_tickets_pkey'",
        "'public.hostile_view'", "'public.hostile_odd'", "'public.hostile_none'"],
    "oid": ["0", "1", "4294967295", "(SELECT max(oid) FROM pg_trigger)", "(SELECT min(oid) FROM pg_trigger)"],
}


def ordinary(routine, argument, sql_type):
    """What a caller would say, as SQL."""
    document = DOCUMENTS.get((routine, argument))
    if document is not None:
        return "$json$" + json.dumps(document) + "$json$"
    return OF_ROUTINE.get((routine, argument)) or ORDINARY.get(argument) or BY_TYPE[sql_type]


def _places(node, path=()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _places(value, path + (key,))


ODD = (None, True, 0, -1, 1.5, 10 ** 30, -(2 ** 63), 2 ** 63 - 1, "", " ", "x" * 129, "x" * 100000, "a\nb", "\u200b", "NaN", "1e9",
       "-1 day", "infinity", "400 days", "178000000 years", "final", "pay", "order", "g", [], {}, [[]], [{}], {"": ""}, ["x"], "{patience}",
       "2026-13-45T99:99:99Z", "infinity", "-infinity", "4714-11-24T00:00:00Z BC", "t-more", "H-held", "\ud800")


def mutations(routine, argument, seed, number):
    """Documents that are right but for one place: changed, left out, twice."""
    document = DOCUMENTS.get((routine, argument))
    if document is None:
        return
    rng = random.Random(f"{seed} {routine} {argument}")
    places = [p for p in _places(document) if p]
    for _ in range(number if places else 0):
        changed = copy.deepcopy(document)
        path = rng.choice(places)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        what = rng.random()
        if what < 0.6:
            parent[path[-1]] = rng.choice(ODD)
        elif what < 0.75:
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[rng.choice(("", "x" * 200, "type", "on", "pay", "gateway", "\n"))] = parent[path[-1]]
        else:
            parent.append(copy.deepcopy(parent[path[-1]]))
        yield "$json$" + json.dumps(changed) + "$json$"
