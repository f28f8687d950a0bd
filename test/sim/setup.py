"""What the demo sets up in the database before it begins.

The machine is the installed default one with its intervals divided, state by
state, so that days pass in seconds; nothing else of it is changed.
"""

import json
import re

# by what each state's intervals are divided
DIVISORS = {
    "pending": 10, "closing": 120, "cancelling": 60, "paid": 150,
    "to_ship": 1440, "shipped": 43200, "refunding": 360, "expired": 60,
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
               "pay_id_pattern": "^pi_", "failed_is_final": False},
}

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


def prepare(link):
    """Extension, machine, gateways, task kinds; returns the server's name."""
    link.call("CREATE EXTENSION payorder")
    (definition,), = link.call("""
        SELECT definition FROM payorder.machines WHERE name = 'order'
        ORDER BY version DESC LIMIT 1""")
    link.call("SELECT payorder.define_machine('order', %s)",
              (json.dumps(faster(definition)),))
    for gateway, settings in SETTINGS.items():
        link.call("SELECT payorder.add_gateway(%s, 'generic', %s, "
                  "settings => %s)",
                  (gateway, f"demo-{gateway}", json.dumps(settings)))
    for kind, most, backoff in KINDS:
        link.call("SELECT payorder.define_task_kind(%s, "
                  "lease => '5 seconds', max_attempts => %s, "
                  "backoff_list => %s)", (kind, most, backoff))
    (version,), = link.call("SHOW server_version")
    return version
