"""Where callbacks arrive: the shop's side of a gateway's line.

Hands a message as it came to payorder.ingest_http(), in a transaction of its
own, and answers after the commit what that says.  What payorder found in the
message is compared with decode.py's reading of it.
"""

import json
import sys
from dataclasses import dataclass

import psycopg

import decode
from link import Again, Broken, Link

INGEST = """
SELECT h.ack_status, h.ack_body,
       array(SELECT r.verdict FROM unnest(h.results) AS r),
       array(SELECT coalesce(r.detail, '') FROM unnest(h.results) AS r)
FROM payorder.ingest_http(%s, %s, %s, %s) AS h
"""
# what the body of an acknowledgement must be, where the status is not enough
ACKNOWLEDGED = {"alipay": "success"}


@dataclass
class Answer:
    """What the gateway sees, and for the simulator what is behind it."""

    status: int
    body: str
    verdicts: list
    details: list

    def acknowledges(self, gateway):
        return 200 <= self.status < 300 and \
            self.body == ACKNOWLEDGED.get(gateway, self.body)

    @property
    def reasons(self):
        """Why it, or parts of it, were rejected."""
        return {detail for verdict, detail in zip(self.verdicts, self.details)
                if verdict == "rejected"}


class Endpoint:
    def __init__(self, gateway, board, slot):
        self.gateway = gateway
        self.board = board
        self.link = Link(board, slot, gateway)

    def deliver(self, message):
        """The Answer; None if there was none."""
        try:
            (status, body, verdicts, details), = self.link.call(
                INGEST, (self.gateway, json.dumps(message.headers),
                         message.body, message.query))
        except (Broken, Again):
            return None
        except psycopg.Error as error:
            self.complain(f"{error.sqlstate} {error}", message.body)
            return None
        for verdict in verdicts:
            self.board.add(verdict)
        return Answer(status, body, verdicts, details)

    def compare(self, answer, plain):
        """The facts of an acknowledged message, with their verdicts.

        plain is the body as it was before it was signed and sealed.
        """
        facts = decode.notice(self.gateway, plain)
        if answer.verdicts != ["ignored"] if not facts \
                else len(answer.verdicts) != len(facts):
            self.complain(f"{answer.verdicts}, must be {facts}", plain)
            return []
        return list(zip(facts, answer.verdicts))

    def complain(self, what, body):
        self.board.add("errors")
        print(f"{self.gateway}: {what}\n    {body[:300]}", file=sys.stderr,
              flush=True)
