"""The end of the demo: does everything agree?

Three accounts are compared: the gateways' ledger files, payorder's tables,
and what the fates (stories.py) say must come out.  Each check has a name and
a list of what is wrong; the demo succeeds when all lists are empty.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import ledger
import people
from fate import POTS
from progress import STATES

SHOWN = 5           # examples of each failed check
TAKEN = ("chargeback", "chargeback_reversed", "chargeback_lost",
         "pay_reversed")
WAITING_POTS = ("review", "owed", "returning")

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
WAITING = """
SELECT gateway, txn_id, event, verdict, reason FROM payorder.callbacks_waiting
"""
ATTENTION = """
SELECT kind, subject, cause, amount, decisions FROM payorder.attention
"""
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
REFUSED = """
SELECT gateway, reason, sum(messages)::bigint FROM payorder.gateway_messages
WHERE verdict = 'rejected' GROUP BY 1, 2 ORDER BY 1, 2
"""
IGNORED = """
SELECT coalesce(sum(messages), 0)::bigint FROM payorder.gateway_messages
WHERE verdict = 'ignored'
"""
HELD = """
SELECT count(*) FROM payorder.events
WHERE event = 'refund_held' AND payload ->> 'cause' = 'order'
"""


DECIDED = """
SELECT coalesce(payload ->> 'decision', replace(event, '_', ' ')), count(*)
FROM payorder.events
WHERE source = 'operator' AND actor = ANY (%s)
  AND event IN ('settle_callback', 'settle_refund', 'cancel_task',
                'retry_dead', 'retry_order', 'retry_callback')
GROUP BY 1 ORDER BY 2 DESC, 1
"""
ASKED = "SELECT count(*) FROM payorder.refunds WHERE refund_no LIKE 'PEOPLE%%'"


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
        self.held = link.insist(HELD)[0][0]
        self.refused = link.insist(REFUSED)
        self.ignored = link.insist(IGNORED)[0][0]
        self.decided = link.insist(DECIDED, (list(people.NAMES),))
        self.decided += [("request refund", link.insist(ASKED)[0][0])]


@dataclass
class Account:
    """What happened to one payment, as its gateway's ledger has it."""

    amount: int
    currency: str
    returned: int = 0
    disputed: int = 0
    reversed: bool = False

    def pots(self):
        """What follows for payorder's pots; the rest is kept."""
        gone = self.returned + self.disputed
        rest = max(self.amount - gone, 0)
        return {"returned": self.returned, "disputed": self.disputed,
                "undone": rest if self.reversed else 0,
                "kept": 0 if self.reversed else rest,
                "overdrawn": max(gone - self.amount, 0)}


class Balance:
    def __init__(self, tables, ledgers, fates):
        self.tables = tables
        self.ledgers = ledgers      # {gateway: ledger.read()}
        self.fates = fates
        self.accounts = self.world()
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
        self.check("the pots of every payment are what its gateway's ledger "
                   "says", self.per_transaction())
        self.check("every lie of a gateway was refused, for its reason, and "
                   "nothing else was", self.lies())
        self.check("every chargeback, its end, and every reversal is "
                   "accounted for once", self.taken())
        self.check("received = kept + returned + waiting + disputed + undone "
                   "- overdrawn, and as the ledgers say", self.sums())
        self.check("no money waits for anything", self.waiting())
        self.check("no message waits for anything", self.parked())
        self.check("people have left nothing but what the world overdrew",
                   self.unsettled())
        self.check("no task is open", self.open())
        self.check("no task is dead", self.dead())
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
        """{(gateway, its id): rows} of what went back, if only for a while.

        Where a person settled and the gateway's message was lost, there is no
        id: the number says which it is.
        """
        ids = {(gateway, r["refund_no"]): r["key"] for gateway, book
               in self.ledgers.items() for r in book["refund"]}
        found = defaultdict(list)
        for row in self.tables.refunds:
            if row[6] in ("succeeded", "reversed"):
                key = row[3] or ids.get((row[1], row[0]))
                found[row[1], key].append(row)
        return found

    def refunds_missing(self):
        here = self.refunds_by_key()
        for gateway, book in self.ledgers.items():
            back = {r["key"] for r in book["refund_back"]}
            for r in book["refund"]:
                rows = here.get((gateway, r["key"]), [])
                facts = (r["txn_id"], r["amount"], r["currency"],
                         "reversed" if r["key"] in back else "succeeded")
                if [(row[2], *row[4:]) for row in rows] != [facts]:
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
            numbers = Counter(r["refund_no"] for r in book["refund"]
                              if r["refund_no"])
            yield from (f"{gateway}: {number} paid {times} times"
                        for number, times in numbers.items() if times > 1)
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
        """money_balance, and the gateways' books."""
        books = defaultdict(Counter)
        for (gateway, _), account in self.accounts.items():
            book = books[gateway, account.currency]
            book["received"] += account.amount
            book.update(account.pots())
        seen = set()
        for gateway, currency, *sums in self.tables.balance:
            got, kept, waiting, back, disputed, undone, overdrawn = sums
            key = gateway, currency
            seen.add(key)
            if got != kept + waiting + back + disputed + undone - overdrawn:
                yield f"{key}: does not add up: {sums}"
            here = {"received": got, "kept": kept, "returned": back,
                    "disputed": disputed, "undone": undone,
                    "overdrawn": overdrawn}
            if waiting or any(here[pot] != books[key][pot] for pot in here):
                yield f"{key}: {here}, waiting {waiting}; ledger {books[key]}"
        yield from (f"{key}: in the ledger only" for key in books
                    if key not in seen)

    # ---- what the world did, by the ledgers alone ----

    def world(self):
        """{(gateway, txn_id): Account}: what happened to each payment."""
        found = {}
        for gateway, book in self.ledgers.items():
            for p in book["payment"]:
                found[gateway, p["txn_id"]] = Account(p["amount"],
                                                      p["currency"])
            for what, pot, sign in (("refund", "returned", 1),
                                    ("refund_back", "returned", -1),
                                    ("withdraw", "disputed", 1),
                                    ("reinstate", "disputed", -1)):
                for fact in book[what]:
                    account = found[gateway, fact["txn_id"]]
                    setattr(account, pot, getattr(account, pot) +
                            sign * fact["amount"])
            for fact in book["reversed"]:
                found[gateway, fact["txn_id"]].reversed = True
        return found

    def per_transaction(self):
        for key, account in self.accounts.items():
            row = self.tables.payments.get(key)
            pots = row and dict(zip(POTS, row[5:]))
            wanted = account.pots()
            if pots is None or any(pots[pot] != value
                                   for pot, value in wanted.items()):
                yield f"{key}: {pots}, by the ledger {wanted}"

    def taken(self):
        """Chargebacks, what became of them, and reversals: each once."""
        wanted = Counter()
        for gateway, book in self.ledgers.items():
            for what, event in (("withdraw", "chargeback"),
                                ("reinstate", "chargeback_reversed"),
                                ("lose", "chargeback_lost")):
                for fact in book[what]:
                    wanted[gateway, fact["key"], event, "applied"] += 1
            for fact in book["ghost"]:
                wanted[gateway, fact["key"], "chargeback", "stale"] += 1
            for fact in book["reversed"]:
                wanted[gateway, fact["txn_id"], "pay_reversed", "applied"] += 1
        found = Counter(row for row in self.tables.callbacks
                        if row[2] in TAKEN)
        yield from (f"{key}: not in payorder" for key in wanted - found)
        yield from (f"{key}: not in a ledger" for key in found - wanted)

    def lies(self):
        """payorder.gateway_messages against the ledgers.

        A lie whose refusal broke may have been counted or not.  Unknown keys
        are also real messages', before their key was added.
        """
        found = Counter({row[:2]: row[2] for row in self.tables.refused})
        for gateway, book in self.ledgers.items():
            told = Counter(lie["reason"] for lie in book["lie"])
            doubt = len(book["lie_in_doubt"])
            reasons = set(told) | {r for g, r in found if g == gateway}
            for reason in reasons - {"key_unknown"}:
                more = found[gateway, reason] - told[reason]
                if not 0 <= more <= doubt:
                    yield (f"{gateway} {reason}: {found[gateway, reason]} "
                           f"refused, {told[reason]} told, {doubt} in doubt")
            if found[gateway, "key_unknown"] < told["key_unknown"]:
                yield f"{gateway}: {found[gateway, 'key_unknown']} unknown keys"

    # ---- nothing is left to settle ----

    def waiting(self):
        for key, row in self.tables.payments.items():
            for pot, value in zip(POTS, row[5:]):
                if pot in WAITING_POTS and value:
                    yield f"{key}: {value} {row[4]} {pot}"

    def unsettled(self):
        """People have left nothing; what is overdrawn, the world overdrew."""
        overdrawn = {":".join(key): account.pots()["overdrawn"]
                     for key, account in self.accounts.items()
                     if account.pots()["overdrawn"]}
        for kind, subject, cause, amount, decisions in self.tables.attention:
            if decisions or cause != "overdrawn":
                yield f"{kind} {subject}: {cause}, {decisions}"
            elif overdrawn.pop(subject, None) != amount:
                yield f"{subject}: overdrawn {amount}, not by the ledger"
        yield from (f"{subject}: {amount} overdrawn and not listed"
                    for subject, amount in overdrawn.items())

    def parked(self):
        return (f"{gateway} {txn_id} {event}: {verdict} for its {reason}"
                for gateway, txn_id, event, verdict, reason
                in self.tables.waiting)

    def open(self):
        return (f"{kind} {task} {number or ''}: {error or ''}"
                for task, kind, number, error in self.tables.open_tasks)

    def dead(self):
        return (f"{kind} {task} {number or ''}: {error}"
                for task, kind, number, error in self.tables.dead_tasks)

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
        yield "Messages refused (payorder.gateway_messages):"
        by_gateway = defaultdict(list)
        for gateway, reason, count in self.tables.refused:
            by_gateway[gateway].append(f"{reason} {count:,}")
        for gateway, reasons in by_gateway.items():
            yield f"  {gateway:8}" + "  ".join(reasons)
        yield (f"  and {self.tables.ignored:,} ignored, which say nothing to "
               "us")
        yield ""
        yield ("Money: received = kept + returned + disputed + undone "
               "- overdrawn, and nothing waits")
        heads = ("gateway", "", "received", "kept", "returned", "disputed",
                 "undone", "overdrawn")
        line = "  {:8}{:4}{:>15}{:>15}{:>14}{:>13}{:>13}{:>11}"
        yield line.format(*heads)
        for gateway, currency, *sums in self.tables.balance:
            got, kept, _, back, *others = sums
            yield line.format(gateway, currency, *(
                self.amount(value, currency)
                for value in (got, kept, back, *others)))
        yield ""
        yield "What people decided: " + ", ".join(
            f"{n:,} {what}" for what, n in self.tables.decided)
        yield (f"Refunds that a limit held for people: {self.tables.held:,}.  "
               f"Overdrawn, which nobody can settle: "
               f"{len(self.tables.attention):,} payments.")

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
