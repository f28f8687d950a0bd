"""The end of the demo: does everything agree?

Three accounts are compared: the gateways' ledger files, payorder's tables,
and what the fates (stories.py) say must come out.  Each check has a name and
a list of what is wrong; the demo succeeds when all lists are empty.
"""

import hashlib
from collections import Counter, defaultdict

import ledger
from fate import POTS
from progress import STATES

SHOWN = 5           # examples of each failed check

PAYMENTS = """
SELECT gateway, txn_id, order_no, amount, rtrim(currency), kept, review, owed,
       "returning", returned, disputed, undone, overdrawn
FROM payorder.payments WHERE gateway <> 'none'
"""
REFUNDS = """
SELECT refund_no, gateway, txn_id, gateway_refund_id, amount,
       rtrim(currency), state
FROM payorder.refunds
"""
CALLBACKS = "SELECT gateway, txn_id, event, verdict FROM payorder.callbacks"
WAITING = "SELECT gateway, txn_id, event, verdict, reason FROM payorder.callbacks_waiting"
ATTENTION = "SELECT kind, subject, cause FROM payorder.attention"
BALANCE = """
SELECT gateway, rtrim(currency), sum(received)::bigint, sum(kept)::bigint,
       sum(waiting)::bigint, sum(returned)::bigint, sum(disputed)::bigint,
       sum(undone)::bigint, sum(overdrawn)::bigint
FROM payorder.money_balance WHERE gateway <> 'none'
GROUP BY 1, 2 ORDER BY 1, 2
"""
OPEN_TASKS = """
SELECT t.id, t.kind, t.payload ->> 'refund_no', r.error
FROM payorder.tasks AS t
LEFT JOIN payorder.task_ready AS r ON r.task_id = t.id
LEFT JOIN payorder.task_leases AS l ON l.task_id = t.id
WHERE (r.run_at < 'infinity' OR l.task_id IS NOT NULL)
"""
DEAD_TASKS = """
SELECT t.id, t.kind, t.payload ->> 'refund_no', d.error
FROM payorder.task_dead AS d JOIN payorder.tasks AS t ON t.id = d.task_id
"""
EXPONENTS = "SELECT rtrim(currency), exponent FROM payorder.currencies"


class Tables:
    """payorder's side, read once."""

    def __init__(self, link):
        self.payments = {(row[0], row[1]): row for row in link.insist(PAYMENTS)}
        self.refunds = link.insist(REFUNDS)
        self.callbacks = link.insist(CALLBACKS)
        self.waiting = link.insist(WAITING)
        self.attention = link.insist(ATTENTION)
        self.balance = link.insist(BALANCE)
        self.open_tasks = link.insist(OPEN_TASKS)
        self.dead_tasks = link.insist(DEAD_TASKS)
        self.orders = dict(link.insist(
            "SELECT order_no, state FROM payorder.orders"))
        self.exponents = dict(link.insist(EXPONENTS))
        self.invariants = link.insist(
            "SELECT invariant, subject, detail FROM payorder.check_invariants()")
        self.conflicts = link.insist(
            "SELECT count(*) FROM payorder.callback_conflicts")[0][0]


class Balance:
    def __init__(self, tables, ledgers, fates):
        self.tables = tables
        self.ledgers = ledgers      # {gateway: ledger.read()}
        self.fates = fates
        self.failures = []          # (name, [what])
        self.passed = []

    def check(self, name, wrong):
        wrong = list(wrong)
        if wrong:
            self.failures.append((name, wrong))
        else:
            self.passed.append(name)

    # ---- the checks ----

    def check_all(self):
        self.check("every payment in a gateway's ledger is in payorder, with "
                   "its amount", self.payments_missing())
        self.check("every payment in payorder is in its gateway's ledger",
                   self.payments_invented())
        self.check("every refund in a gateway's ledger is in payorder, with "
                   "its amount", self.refunds_missing())
        self.check("every refund in payorder is in its gateway's ledger",
                   self.refunds_invented())
        self.check("no gateway was asked for more than was paid, or twice "
                   "with one number", self.misused())
        self.check("every acknowledged message is found exactly once",
                   self.acknowledged())
        self.check("every order ends in the state that its fate says",
                   self.orders())
        self.check("every payment's money ends where its fate says",
                   self.pots())
        self.check("received = kept + returned + waiting + disputed + undone "
                   "- overdrawn, and as the ledgers say", self.sums())
        self.check("every waiting amount has its reason", self.unexplained())
        self.check("no task is open but those that wait for a person",
                   self.open())
        self.check("dead tasks are those of refunds that the gateway never "
                   "answers", self.dead())
        self.check("check_invariants() is empty",
                   (f"{a}: {b}: {c}" for a, b, c in self.tables.invariants))

    def payments_missing(self):
        for gateway, book in self.ledgers.items():
            for p in book["payment"]:
                row = self.tables.payments.get((gateway, p["txn_id"]))
                if row is None:
                    yield f"{gateway} {p['txn_id']} (order {p['i']}): missing"
                elif (row[3], row[4]) != (p["amount"], p["currency"]):
                    yield (f"{gateway} {p['txn_id']}: {row[3]} {row[4]}, ledger "
                           f"{p['amount']} {p['currency']}")

    def payments_invented(self):
        known = {(gateway, p["txn_id"]) for gateway, book
                 in self.ledgers.items() for p in book["payment"]}
        return (f"{gateway} {txn_id}" for gateway, txn_id
                in self.tables.payments if (gateway, txn_id) not in known)

    def refunds_by_key(self):
        found = defaultdict(list)
        for row in self.tables.refunds:
            if row[6] == "succeeded":
                found[row[1], row[3]].append(row)
        return found

    def refunds_missing(self):
        here = self.refunds_by_key()
        for gateway, book in self.ledgers.items():
            for r in book["refund"]:
                rows = here.get((gateway, r["key"]), [])
                facts = (r["txn_id"], r["amount"], r["currency"])
                if [(row[2], row[4], row[5]) for row in rows] != [facts]:
                    yield f"{gateway} {r['key']}: {rows}, ledger {facts}"

    def refunds_invented(self):
        known = {(gateway, r["key"]) for gateway, book
                 in self.ledgers.items() for r in book["refund"]}
        return (f"{key}: {rows}" for key, rows in self.refunds_by_key().items()
                if key not in known)

    def misused(self):
        for gateway, book in self.ledgers.items():
            for r in book["misused"]:
                yield f"{gateway}: {r}"
            for r in book["refund"]:
                if r["too_much"]:
                    yield f"{gateway}: more refunded than paid: {r}"

    def acknowledged(self):
        found = Counter(row[:3] for row in self.tables.callbacks)
        for gateway, book in self.ledgers.items():
            for txn_id, event in {(a["txn_id"], a["event"])
                                  for a in book["ack"]}:
                times = found[gateway, txn_id, event]
                if times != 1:
                    yield f"{gateway} {txn_id} {event}: found {times} times"

    def orders(self):
        for fate in self.fates:
            state = self.tables.orders.get(fate.order_no)
            if state != fate.end:
                yield (f"{fate.order_no} ({fate.story}/{fate.variant}): "
                       f"{state}, must be {fate.end}")
        if len(self.tables.orders) != len(self.fates):
            yield f"{len(self.tables.orders)} orders in payorder"

    def drawn(self):
        """(fate, try) of every payment that the fates let happen."""
        for fate in self.fates:
            for made in fate.tries + ([fate.foreign] if fate.foreign else []):
                if made.pots:
                    yield fate, made

    def pots(self):
        count = 0
        for fate, made in self.drawn():
            count += 1
            row = self.tables.payments.get((made.gateway, made.txn_id))
            wanted = tuple(made.pots[pot] for pot in POTS)
            if row is None or tuple(row[5:]) != wanted:
                have = row and dict(zip(POTS, row[5:]))
                yield (f"{made.gateway} {made.txn_id} of {fate.order_no} "
                       f"({fate.story}/{fate.variant}): {have}, must be "
                       f"{made.pots}")
        if count != len(self.tables.payments):
            yield f"{len(self.tables.payments)} payments, must be {count}"

    def sums(self):
        received, returned = Counter(), Counter()
        for gateway, book in self.ledgers.items():
            for p in book["payment"]:
                received[gateway, p["currency"]] += p["amount"]
            for r in book["refund"]:
                returned[gateway, r["currency"]] += r["amount"]
        seen = set()
        for gateway, currency, *sums in self.tables.balance:
            got, kept, waiting, back, disputed, undone, overdrawn = sums
            key = gateway, currency
            seen.add(key)
            if got != kept + waiting + back + disputed + undone - overdrawn:
                yield f"{key}: does not add up: {sums}"
            if (got, back) != (received[key], returned[key]):
                yield (f"{key}: received {got}, returned {back}; ledger "
                       f"{received[key]}, {returned[key]}")
        yield from (f"{key}: in the ledger only" for key in received
                    if key not in seen)

    def reasons(self):
        """[(reason or None, pot, amount, payment row)] of waiting money."""
        people = defaultdict(set)
        for kind, subject, cause in self.tables.attention:
            if kind == "review":
                people[subject].add(cause)
        parked = {(row[0], row[1]): f"{row[3]}: waits for its {row[4]}"
                  for row in self.tables.waiting if row[2] == "pay"}
        refunds = defaultdict(list)
        for row in self.tables.refunds:
            refunds[row[1], row[2]].append(row)
        found = []
        for key, row in self.tables.payments.items():
            own = people.get(":".join(key), set())
            pots = dict(zip(POTS, row[5:]))
            if pots["review"]:
                cause = own & {"mismatch", "conflict"}
                found.append((parked.get(key) or next(iter(cause), None),
                              "review", pots["review"], row))
            if pots["owed"]:
                held = [r for r in refunds[key] if r[6] == "held"]
                found.append(("owed: a refund failed, or none is there"
                              if "owed" in own
                              else "held" if held else None,
                              "owed", pots["owed"], row))
            if pots["returning"]:
                going = [f"refund {r[6]}" + "".join(
                            ": " + c for c in sorted(people.get(r[0], ()))[:1])
                         for r in refunds[key]
                         if r[6] in ("asked", "in_doubt", "stuck")]
                found.append((going[0] if going else None, "returning",
                              pots["returning"], row))
        return found

    def unexplained(self):
        return (f"{row[0]} {row[1]}: {amount} {row[4]} {pot}"
                for reason, pot, amount, row in self.reasons()
                if reason is None)

    def never_answered(self):
        return {plan.number for fate in self.fates for plan in fate.refunds
                if plan.back.outcome in ("never", "stuck")}

    def open(self):
        return (f"{kind} {task} {number or ''}: {error or ''}"
                for task, kind, number, error in self.tables.open_tasks)

    def dead(self):
        allowed = self.never_answered()
        return (f"{kind} {task} {number or ''}: {error}"
                for task, kind, number, error in self.tables.dead_tasks
                if number not in allowed)

    # ---- the report ----

    def digest(self):
        """A number for the balance per transaction: equal for equal seeds."""
        lines = sorted(repr(row) for row in self.tables.payments.values())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def amount(self, value, currency):
        digits = self.tables.exponents[currency]
        if digits == 0:
            return f"{value:,}"
        return f"{value // 10 ** digits:,}.{value % 10 ** digits:0{digits}d}"

    def report(self):
        yield "Orders by end state:"
        states = Counter(self.tables.orders.values())
        yield "  " + "  ".join(f"{state} {states[state]:,}"
                               for state in STATES if states[state])
        yield "Messages by verdict, as they stand:"
        verdicts = Counter(row[3] for row in self.tables.callbacks)
        yield "  " + "  ".join(f"{name} {n:,}" for name, n
                               in verdicts.most_common()) + \
            f"  and {self.tables.conflicts:,} kept as conflicting"
        yield ""
        yield "Money: received = kept + returned + waiting"
        heads = ("gateway", "", "received", "kept", "returned", "waiting")
        yield "  {:8}{:4}{:>18}{:>18}{:>18}{:>16}".format(*heads)
        for gateway, currency, *sums in self.tables.balance:
            got, kept, waiting, back, *others = sums
            line = "  {:8}{:4}{:>18}{:>18}{:>18}{:>16}".format(
                gateway, currency, *(self.amount(value, currency) for value
                                     in (got, kept, back, waiting)))
            if any(others):
                line += "  disputed {} undone {} overdrawn {}".format(*others)
            yield line
        yield "What waits, and why:"
        groups = defaultdict(lambda: [0, 0])
        for reason, pot, amount, row in self.reasons():
            group = groups[reason or "NO REASON", pot, row[4]]
            group[0] += 1
            group[1] += amount
        for (reason, pot, currency), (count, total) in sorted(groups.items()):
            yield (f"  {count:4} payments  {self.amount(total, currency):>14} "
                   f"{currency}  {pot}: {reason}")
        yield ""
        reviews = Counter(row[2] for row in self.tables.attention
                          if row[0] == "review")
        dead = Counter(row[1] for row in self.tables.dead_tasks)
        yield (f"Tasks: {len(self.tables.open_tasks)} open, "
               f"{sum(dead.values())} dead "
               f"({', '.join(f'{n} {k}' for k, n in dead.items()) or 'none'})")
        yield "For people to decide (payorder.attention): " + (
            ", ".join(f"{n} {cause}" for cause, n in reviews.most_common())
            or "nothing")

    def verdict(self):
        yield "Checks:"
        for name in self.passed:
            yield f"  ok      {name}"
        for name, wrong in self.failures:
            yield f"  FAILED  {name}: {len(wrong)}"
            for what in wrong[:SHOWN]:
                yield f"            {what}"


def read_ledgers(config):
    return {name: ledger.read(gateway["ledger"])
            for name, gateway in config["gateways"].items()}
