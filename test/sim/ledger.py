"""A gateway's own file: what it took, gave back, and was acknowledged for.

Lines of JSON, only ever appended, each handed to the operating system before
what it says counts.  The director reads the files, not the processes, when it
compares them with payorder's tables.

what: payment · reversed (a payment) · refund · refused (a refund) ·
refund_back (a refund after its success) · withdraw, reinstate and lose (of a
dispute) · ghost (a dispute of nobody's) · closed · lost (a callback that is
never sent) · ack (verdict and key of a message that was acknowledged) · lie
(a message that payorder refused, for a reason) · lie_in_doubt (one whose
refusal broke)
"""

import json
import threading
from collections import defaultdict


class Ledger:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()

    def note(self, what, **facts):
        line = json.dumps({"what": what, **facts})
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()


def read(path):
    """{what: [facts, ...]} of a ledger file."""
    found = defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file:
            facts = json.loads(line)
            found[facts.pop("what")].append(facts)
    return found
