"""Where callbacks arrive: the shop's side of a gateway's line.

Decodes the body and hands each fact to payorder.ingest() in a transaction of
its own.  The acknowledgement is given after the commit, and only if payorder
says so for every fact of the message.
"""

import sys

import psycopg

import decode
from link import Again, Broken, Link

INGEST = """
SELECT verdict, ack_status FROM payorder.ingest(
    gateway => %s, txn_id => %s, event => %s, order_no => %s, amount => %s,
    currency => %s, occurred_at => %s, payload => %s, source => 'callback',
    payment_txn => %s, refund_no => %s, amount_is_total => %s)
"""


class Endpoint:
    def __init__(self, gateway, board, slot):
        self.gateway = gateway
        self.board = board
        self.link = Link(board, slot, gateway)

    def deliver(self, body):
        """[(fact, verdict)] if the message is acknowledged, else None."""
        try:
            facts = decode.notice(self.gateway, body)
            answers = [(fact, self._ingest(fact)) for fact in facts]
        except (Broken, Again):
            return None
        except (psycopg.Error, decode.BadMessage) as error:
            self.board.add("errors")
            print(f"{self.gateway}: {type(error).__name__} "
                  f"{getattr(error, 'sqlstate', '')}: {error}\n    {body[:300]}",
                  file=sys.stderr, flush=True)
            return None
        if not answers:
            self.board.add("ignored")
        if any(verdict is None for _, verdict in answers):
            return None
        return answers

    def _ingest(self, fact):
        """The verdict, None if it is not acknowledged."""
        (verdict, ack_status), = self.link.call(
            INGEST, (fact.gateway, fact.txn_id, fact.event, fact.order_no,
                     fact.amount, fact.currency, fact.occurred_at,
                     fact.payload, fact.payment_txn, fact.refund_no,
                     fact.amount_is_total))
        self.board.add(verdict)
        return verdict if ack_status is not None else None
