"""What the demo sets up in the database before it begins.

The machine is the installed default one with its intervals divided, state by
state, so that days pass in seconds; nothing else of it is changed.  Others are
made of it: one takes payments in parts, one leaves disputed orders time, two
have limits of refunds of their own.
"""

import copy
import json
import re
from dataclasses import replace

import signing
from keyring import Keyring, load

# by what each state's intervals are divided
DIVISORS = {
    "pending": 10, "closing": 120, "cancelling": 20, "paid": 150,
    "to_ship": 1440, "shipped": 172800, "refunding": 360, "expired": 60,
}
# parameters stand for intervals of these states
PARAMETERS = {"pay_within": "pending", "cooling_off": "paid"}
AUTO_COMPLETE = 86400       # 10 days are 10 seconds

UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

SETTINGS = {
    "wechat": {"return_delay": "2 seconds", "auto_return_per_hour": 1000000,
               "parallel_attempts": True},
    "alipay": {"return_delay": "2 seconds", "auto_return_per_hour": 1000000},
    "stripe": {"return_delay": "2 seconds", "auto_return_per_hour": 1000000,
               "pay_id_pattern": "^pi_", "failed_is_final": False,
               "idempotency_window": "4 seconds"},
    "adyen": {"return_delay": "2 seconds", "auto_return_per_hour": 1000000,
              "capture_mode": "manual",
              "adapter_settings": {"captures": "multiple"}},
    "till": {"return_delay": "2 seconds", "auto_return_per_hour": 1000000},
}
NEW_KEY = "PUB_KEY_ID_2"    # with which WeChat Pay signs from some day on

# Money above this, in minor units, needs two people.
SECOND_PERSON = 60_000
LIMITS = (
    (None, {"second_person_above": SECOND_PERSON, "max_age": "180 days"}),
    ("sale", {"share_per_hour": 0.003}),
    ("watched", {"share_per_hour": 0}),
)

# What the extension waits for in minutes, and days, comes in seconds.
HASTEN = """
UPDATE payorder.task_ready SET run_at = pg_catalog.now() + '2 seconds'
WHERE kind = 'query_refund'
  AND run_at > pg_catalog.now() + '4 seconds' AND run_at < 'infinity'
"""

# A trigger of the shop's own, which raises for some orders.
SHOP = ("CREATE SCHEMA shop",
        "CREATE TABLE shop.broken (order_no text PRIMARY KEY)", """
CREATE FUNCTION shop.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM shop.broken AS b
               WHERE b.order_no = NEW.order_no) THEN
        RAISE EXCEPTION 'the shop''s own trigger is broken';
    END IF;
    RETURN NULL;
END
$$
""", """
CREATE TRIGGER watch AFTER UPDATE ON payorder.orders
    FOR EACH ROW EXECUTE FUNCTION shop.watch()
""")

# lease, max_attempts, backoff: hours of patience in seconds
KINDS = (
    ("query_payment", 12, "{500 ms,1 s,2 s}"),
    ("close_payment", 60, "{500 ms,1 s,2 s}"),
    ("refund", 10, "{400 ms,800 ms,1500 ms}"),
    ("query_refund", 5, "{1 s,2 s,3 s}"),
    ("return", 20, "{500 ms,1 s,2 s}"),
)


def divide(interval, divisor):
    """'15m', 10 -> '90000ms'."""
    match = re.fullmatch(r"([0-9]+)([smhd])", interval)
    if match is None:
        raise ValueError(f"interval of unknown form: {interval}")
    length = int(match.group(1)) * UNITS[match.group(2)]
    return f"{max(length // divisor, 1)}ms"


def faster(definition):
    """The machine with its intervals divided."""
    for name, value in definition["parameters"].items():
        divisor = DIVISORS.get(PARAMETERS.get(name), AUTO_COMPLETE)
        definition["parameters"][name] = divide(value, divisor)
    for name, state in definition["states"].items():
        divisor = DIVISORS.get(name)
        after = {}
        for interval, action in state.get("after", {}).items():
            if "retry" in action:
                action["retry"] = divide(action["retry"], divisor)
            if not interval.startswith("{"):
                interval = divide(interval, divisor)
            after[interval] = action
        if after:
            state["after"] = after
        for edges in state.get("on", {}).values():
            for edge in edges if isinstance(edges, list) else [edges]:
                if "within" in edge:
                    edge["within"] = divide(edge["within"], divisor)
    return definition


def machines(definition):
    """{name: definition}: the fast machine, and what is made of it."""
    found = {name: copy.deepcopy(definition)
             for name in ("order", "parts", "patient", "sale", "watched")}
    states = found["parts"]["states"]
    states["pending"]["on"]["pay_part"] = {"target": "part_paid"}
    states["part_paid"] = {
        "on": {"pay": {"target": "paid", "stock": "confirm"},
               "pay_part": {"target": "part_paid"},
               "give_up": {"target": "given_up", "stock": "release"}},
        "after": {"1h": {"fire": "give_up"}}}
    states["given_up"] = {
        "type": "final", "entry": {"enqueue": "refund_all"},
        "on": {"refunded": {"target": "refunded"}}}
    found["patient"]["parameters"]["auto_complete"] = "10m"
    return found


def add_gateways(link):
    """Gateways with fresh keys, which the gateways' processes will find."""
    keys = Keyring(link.call)
    for gateway, add in (("wechat", keys.wechatpay), ("alipay", keys.alipay),
                         ("stripe", keys.stripe), ("adyen", keys.adyen),
                         ("till", keys.hmac)):
        accounts = [add(gateway, **SETTINGS[gateway])]
        if gateway == "wechat":
            accounts.append(replace(accounts[0], key_id=NEW_KEY,
                                    key=keys.private_key("wechat-sign-2")))
        keys.save(gateway, *accounts)


def add_new_key(link, folder):
    """Tells payorder the key with which WeChat Pay signs already."""
    account = load(folder, "wechat")[1]
    link.insist("SELECT payorder.add_gateway_key('wechat', %s, "
                "public_key => %s)",
                (NEW_KEY, signing.public_key(account.key).decode()))


def prepare(link):
    """Extension, machine, gateways, task kinds; returns the server's name."""
    link.call("CREATE EXTENSION payorder")
    (definition,), = link.call("""
        SELECT definition FROM payorder.machines WHERE name = 'order'
        ORDER BY version DESC LIMIT 1""")
    for name, made in machines(faster(definition)).items():
        link.call("SELECT payorder.define_machine(%s, %s)",
                  (name, json.dumps(made)))
    add_gateways(link)
    for kind, most, backoff in KINDS:
        link.call("SELECT payorder.define_task_kind(%s, "
                  "lease => '5 seconds', max_attempts => %s, "
                  "backoff_list => %s)", (kind, most, backoff))
    for machine, limits in LIMITS:
        link.call("SELECT payorder.set_refund_limits(NULL, %s, %s)",
                  (machine, json.dumps(limits)))
    for statement in SHOP:
        link.call(statement)
    (version,), = link.call("SHOW server_version")
    return version
