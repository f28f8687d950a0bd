"""Compares what payorder stored with what the model says."""

from model_things import POTS

KERNEL_REFUNDS = """
SELECT refund_no, gateway, txn_id, cause, gateway_refund_id, requested_at
FROM payorder.refunds WHERE gateway = ANY (%s) ORDER BY requested_at, refund_no
"""
PAYMENTS = """
SELECT gateway, txn_id, order_no, disposition, amount, rtrim(currency), kept,
       review, owed, "returning", returned, disputed, undone, overdrawn,
       reversed_at IS NOT NULL
FROM payorder.payments WHERE gateway = ANY (%s)
"""
ORDERS = """
SELECT order_no, state, paid_amount, refunding_amount, refunded_amount,
       disputed_amount, overdrawn_amount, frozen
FROM payorder.orders WHERE order_no = ANY (%s)
"""
ATTEMPTS = """
SELECT payment_no, state FROM payorder.attempts WHERE gateway = ANY (%s)
"""
REFUNDS = """
SELECT refund_no, gateway, txn_id, cause, state, amount, gateway_refund_id
FROM payorder.refunds WHERE gateway = ANY (%s)
"""
CALLBACKS = """
SELECT gateway, txn_id, event, verdict, detail
FROM payorder.callbacks WHERE gateway = ANY (%s)
"""
INVARIANTS = """
SELECT invariant, subject, detail FROM payorder.check_invariants()
"""


def kernel_numbers(connection, gateways, ours):
    """{number: identity} of refunds that the kernel made.  External ones are
    told apart by the gateway's id, since several may be of one instant."""
    found, before = {}, {}
    for number, gateway, txn_id, cause, gateway_id, _ in \
            connection.execute(KERNEL_REFUNDS, (gateways,)):
        if number in ours:
            continue
        if cause == "external":
            found[number] = gateway, gateway_id
            continue
        key = gateway, txn_id, cause
        found[number] = (*key, before.get(key, 0))
        before[key] = before.get(key, 0) + 1
    return found


class Check:
    def __init__(self, connection, model, gateways, ours):
        self.connection, self.model = connection, model
        self.gateways, self.ours = gateways, ours
        self.wrong = []         # (order_no or None, what)

    def rows(self, sql, argument=None):
        return self.connection.execute(sql, (argument or self.gateways,))

    def compare(self, what, order_no, have, wanted):
        if have != wanted:
            self.wrong.append((order_no, f"{what}: database {have}, "
                               f"model {wanted}"))

    def all(self):
        self.payments()
        self.orders()
        self.attempts()
        self.refunds()
        self.callbacks()
        for row in self.connection.execute(INVARIANTS):
            self.wrong.append((None, "check_invariants: " + ": ".join(
                str(value) for value in row)))
        return self.wrong

    def payments(self):
        wanted = {}
        for key, one in self.model.payments.items():
            wanted[key] = (
                one.order.number if one.order else None, one.disposition,
                one.amount, one.currency,
                tuple(one.pot(pot) for pot in POTS), one.reversed)
        have = {row[:2]: (*row[2:6], row[6:14], row[14])
                for row in self.rows(PAYMENTS)}
        for key in sorted(have.keys() | wanted.keys()):
            row = wanted.get(key) or have.get(key)
            self.compare("payment " + " ".join(key), row[0], have.get(key),
                         wanted.get(key))

    def orders(self):
        numbers = list(self.model.orders)
        have = {row[0]: row[1:] for row in self.rows(ORDERS, numbers)}
        for number, one in self.model.orders.items():
            self.compare("order", number, have.get(number), (
                one.state, one.paid_amount, one.refunding_amount,
                one.refunded_amount, one.disputed_amount,
                one.overdrawn_amount, one.frozen))

    def attempts(self):
        have = dict(self.rows(ATTEMPTS).fetchall())
        for number, one in self.model.attempts.items():
            self.compare(f"attempt {number}", one.order.number,
                         have.get(number), one.state)

    def refunds(self):
        names = kernel_numbers(self.connection, self.gateways, self.ours)
        have = {}
        for number, *row in self.rows(REFUNDS):
            have[names.get(number, number)] = tuple(row)
        wanted, order_of = {}, {}
        for identity, one in self.model.refunds.items():
            if one.cause == "external":
                identity = one.payment.gateway, one.gateway_id
            wanted[identity] = (one.payment.gateway, one.payment.txn_id,
                                one.cause, one.state, one.amount,
                                one.gateway_id)
            order_of[identity] = one.payment.order and one.payment.order.number
        for identity in sorted(have.keys() | wanted.keys(), key=str):
            self.compare(f"refund {identity}", order_of.get(identity),
                         have.get(identity), wanted.get(identity))

    def callbacks(self):
        have = {row[:3]: row[3:] for row in self.rows(CALLBACKS)}
        for key in sorted(have.keys() | self.model.callbacks.keys()):
            one = self.model.callbacks.get(key)
            wanted = one and (one.verdict, one.detail)
            row = have.get(key)
            if one and row and one.detail == "(any)":
                wanted, row = wanted[0], row[0]
            self.compare("callback " + " ".join(key),
                         one and one.order and one.order.number, row, wanted)
