"""Worker programs of the property test: they claim tasks and answer them,
well, badly, or not at all.
"""

import random

from model_things import Message
from property_calls import Claim, Complete, Fail


def worker(round_, k):
    """Claims tasks and answers them, for ever."""
    rng = random.Random(f"{round_.seed}/{round_.number}/worker{k}")
    kinds = ["refund", "query_refund", "return", "close_payment",
             "query_payment"]
    held = []
    while True:
        got = yield Claim(None, rng.sample(kinds, rng.randint(1, 4)),
                          rng.randint(1, 4), list(round_.gateways.values()))
        if got:
            held += got.answer
        while held and rng.random() < 0.8:
            claimed = held.pop(rng.randrange(len(held)))
            call = answer_task(round_, rng, claimed)
            if call is not None:
                yield call
        for _ in range(rng.randint(0, 3)):
            yield None


def answer_task(round_, rng, claimed):
    payload = claimed.payload
    subject = claimed.subject
    dice = rng.random()
    if claimed.kind == "return":
        asked = [one["txn_id"] for one in payload["confirm"]]
        good = dice < 0.75
        return Complete(subject, claimed,
                        confirmed=asked if good else asked[1:],
                        all_confirmed=good and not (
                            payload.get("uncounted") and claimed.gateway ==
                            round_.gateways["thrifty"]))    # its limit is 0
    if claimed.kind in ("close_payment", "query_payment"):
        number = payload["payment_no"]
        said = []
        if dice < 0.6:
            said = [Message(claimed.gateway, number, "pay_closed", number,
                            occurred_at=round_.time())]
        return Complete(subject, claimed, said)
    number, txn_id = payload["refund_no"], payload["txn_id"]

    external = number.startswith(claimed.gateway + ":")

    def message(event, amount):
        # of one made in its console the gateway knows only its own id
        identity = payload["gateway_refund_id"] if external else f"re{number}"
        return Message(claimed.gateway, identity, event, None, amount, None,
                       round_.time(), txn_id, None if external else number)

    said = []
    if dice < 0.45:
        said = [message("refund", payload["amount"])]
    elif dice < 0.55:
        said = [message("refund_failed", None)]
    elif dice < 0.62:
        said = [message("refund_stuck", None)]
    elif dice < 0.67:
        said = [message("refund", payload["amount"] + 1)]
    elif dice < 0.75:
        return Fail(subject, claimed, True)
    elif dice < 0.8:
        return Fail(subject, claimed, False)
    elif dice < 0.88:
        return None             # it dies; the lease runs out
    elif claimed.kind == "query_refund" and dice < 0.94:
        return Complete(subject, claimed, unknown=True)
    return Complete(subject, claimed, said)
