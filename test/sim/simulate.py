"""Messages of a gateway about one event, as payorder.simulate_callback() and
the program simulate_callback send them.

message(account, event, ...) says in the gateway's own words what ingest()
would be told.  Which events a gateway has messages of is in EVENTS.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request

import signing
import templates as t


class NoSuchMessage(ValueError):
    """The gateway says nothing of the kind."""


class Facts:
    """What a message is about; what is not said is made up, always alike."""

    def __init__(self, order_no, amount=100, currency="CNY", txn_id=None,
                 payment_txn=None, refund_no=None, capture="auto", at=None):
        self.order_no, self.amount = order_no, amount
        self.currency, self.txn_id = currency, txn_id
        self.payment_txn, self.refund_no = payment_txn, refund_no
        self.capture = capture or "auto"
        self.at = time.time() if at is None else at

    def made_up(self, *what):
        return t.scramble("simulated", self.order_no, *what)

    def number(self, what):
        return "42" + "%026d" % (int(self.made_up(what)[:20], 16) % 10 ** 26)

    def refund(self):
        return self.refund_no or "RS" + self.made_up("refund")[:20].upper()

    def event_id(self, what):
        return "evt_1" + self.made_up(what, self.amount, self.txn_id,
                                      self.refund_no)[:23]


# ---- Stripe ----

def stripe(account, event, f):
    def own(kind):
        return f.txn_id or kind + f.made_up(kind, f.refund_no)[:23]

    intent = f.payment_txn or "pi_3" + f.made_up("pi")[:23]
    charge = "ch_3" + f.made_up("ch")[:23]
    key = f.event_id(event)
    trade = (f.order_no, f.amount, f.currency, f.at)
    if event in ("pay", "pay_closed", "pay_failed"):
        intent = f.txn_id or intent
    if event == "pay":
        return t.stripe_paid(key, f.at, intent, charge, *trade)
    if event == "pay_failed":
        return t.stripe_declined(key, f.at, intent, charge, *trade)
    if event == "pay_closed":
        return t.stripe_canceled(key, f.at, intent, *trade)
    if event in ("refund", "refund_failed"):
        kind, status = ("refund.updated", "succeeded") \
            if event == "refund" else ("refund.failed", "failed")
        return t.stripe_refund_event(key, kind, f.at, t.stripe_refund_object(
            own("re_3"), intent, charge, f.refund_no, f.amount, f.currency,
            status, f.at))
    kind, status = {"chargeback": ("funds_withdrawn", "needs_response"),
                    "chargeback_reversed": ("funds_reinstated", "won"),
                    "chargeback_lost": ("closed", "lost")}[event]
    return t.stripe_dispute(key, kind, f.at, own("dp_1"), intent, charge,
                            f.amount, f.currency, status)


# ---- WeChat Pay ----

def wechatpay(account, event, f):
    mark = {"notice_id": "EV-" + f.event_id(event)[5:], "nonce": "n" * 12,
            "sent_at": f.at}
    if event == "pay":
        return t.wechat_paid(
            **mark, out_trade_no=f.order_no,
            transaction_id=f.txn_id or f.number("transaction"),
            total=f.amount, currency=f.currency, paid_at=f.at)
    return t.wechat_refunded(
        **mark, out_trade_no=f.order_no,
        transaction_id=f.payment_txn or f.number("transaction"),
        out_refund_no=f.refund(),
        refund_id=f.txn_id or "50" + f.number(f.refund())[2:],
        total=f.amount, refund=f.amount, done_at=f.at,
        status={"refund": "SUCCESS", "refund_failed": "CLOSED",
                "refund_stuck": "ABNORMAL"}[event])


# ---- Alipay ----

def alipay(account, event, f):
    trade = {"notify_id": f.event_id(event)[5:], "sent_at": f.at,
             "charset": "utf-8", "out_trade_no": f.order_no,
             "trade_no": f.number("trade"), "total": f.amount}
    if event == "pay":
        trade["trade_no"] = f.txn_id or trade["trade_no"]
        return t.alipay_paid(**trade, paid_at=f.at)
    if event == "pay_closed":
        return t.alipay_closed(**trade)
    trade["trade_no"] = f.payment_txn or trade["trade_no"]
    return t.alipay_refunded(**trade, paid_at=f.at, out_biz_no=f.refund(),
                             refunded_so_far=f.amount, done_at=f.at)


# ---- Adyen ----

ADYEN = {
    "authorised": ("AUTHORISATION", True), "pay_failed": ("AUTHORISATION", False),
    "pay_closed": ("CANCELLATION", True), "pay_reversed": ("CAPTURE_FAILED", True),
    "refund": ("REFUND", True), "refund_failed": ("REFUND_FAILED", True),
    "chargeback": ("CHARGEBACK", True),
    "chargeback_reversed": ("CHARGEBACK_REVERSED", True),
}


def adyen(account, event, f):
    def psp(what):
        return f.made_up(what)[:16].upper()

    authorisation = psp("authorisation")
    reference = f.order_no
    if event == "pay":
        manual = f.capture == "manual"
        code, success = ("CAPTURE" if manual else "AUTHORISATION"), True
        own = psp("capture") if manual else f.txn_id or authorisation
        original = f.txn_id or authorisation if manual else None
    else:
        code, success = ADYEN[event]
        own = f.txn_id or (psp(event) if code != "AUTHORISATION"
                           else authorisation)
        original = None if code == "AUTHORISATION" \
            else f.payment_txn or authorisation
        if event.startswith("refund"):
            reference = f.refund_no or f.order_no
    return t.adyen_post(t.adyen_item(code, own, reference, f.amount,
                                     f.currency, f.at, original, success))


# ---- any other ----

def hmac(account, event, f):
    settings = account.settings
    payment = f.payment_txn or f.number("payment")
    about_payment = event in ("pay", "pay_part", "pay_failed", "pay_closed",
                              "authorised", "pay_reversed")
    other = f.txn_id or f.number((event.split("_")[0], f.refund_no))
    facts = {"txn_id": f.txn_id or payment if about_payment else payment,
             "order_no": f.order_no, "currency": f.currency,
             "amount": f.amount}
    if settings.get("amount_format") == "decimal":
        facts["amount"] = t.yuan(f.amount)
    if event.startswith("refund"):
        facts.update(refund_id=other, refund_no=f.refund(),
                     refund_amount=facts["amount"], payment_txn=payment)
    if event.startswith("chargeback"):
        facts.update(dispute_id=other, dispute_amount=facts["amount"],
                     payment_txn=payment)
    return t.hmac_event(settings, event, f.at, **facts)


EVENTS = {
    "stripe": (stripe, (
        "pay", "pay_failed", "pay_closed", "refund", "refund_failed",
        "chargeback", "chargeback_reversed", "chargeback_lost")),
    "wechatpay": (wechatpay, ("pay", "refund", "refund_failed",
                              "refund_stuck")),
    "alipay": (alipay, ("pay", "pay_closed", "refund")),
    "adyen": (adyen, ("pay", *ADYEN)),
    "hmac": (hmac, None),       # those of its setting "events"
}


def message(account, event, fault=None, **facts):
    """The signed message that tells an event; with a fault, a spoilt one."""
    if account.adapter not in EVENTS:
        raise NoSuchMessage("not an adapter of raw messages: "
                            + account.adapter)
    make, events = EVENTS[account.adapter]
    if events is None:
        events = tuple(account.settings["events"].values())
    if event not in events:
        raise NoSuchMessage(f"{account.adapter} has no message of {event}: "
                            "it has " + ", ".join(events))
    f = Facts(**facts)
    document = t.document(account.adapter, make(account, event, f))
    if fault is None:
        return signing.sign(account, document, f.at)
    if fault not in signing.faults(account):
        raise NoSuchMessage(f"no such fault: {fault}; there are "
                            + ", ".join(signing.faults(account)))
    return signing.spoil(account, document, fault, f.at)


# ---- the program ----

def read(path):
    """A secret's file, without the line break that editors add."""
    with open(path, "rb") as file:
        return file.read().removesuffix(b"\n").removesuffix(b"\r")


def arguments():
    parser = argparse.ArgumentParser(
        prog="simulate_callback",
        description="Signs a message as a gateway does and posts it to a "
                    "receiver. Exit status: 0 acknowledged, 1 not.")
    add = parser.add_argument
    add("--url", required=True, help="of the receiver, for this gateway")
    add("--adapter", required=True, choices=list(EVENTS))
    add("--merchant", required=True, help="merchant_id of the gateway")
    add("--app", default="", help="its app_scope")
    add("--live", action="store_true", help="its mode is live, not test")
    add("--settings", type=json.loads, default={},
        help="its adapter_settings, as JSON")
    add("--key-file", required=True,
        help="file of the shared secret, or private key (PEM)")
    add("--key-id", default="", help="serial or id of the key")
    add("--decrypt-file", help="file of WeChat Pay's APIv3 key")
    add("--event", default="pay", help="as ingest() calls it")
    add("--order", required=True, help="order_no or payment_no")
    add("--amount", type=int, default=100, help="in minor units")
    add("--currency", default="CNY")
    add("--txn-id")
    add("--payment-txn", help="of refunds and disputes")
    add("--refund-no")
    add("--capture", choices=("auto", "manual"), help="Adyen's capture_mode")
    add("--fault", choices=list(signing.FAULTS),
        help="spoil it: it must be refused")
    return parser.parse_args()


def post(url, sent):
    """(status, body) of the receiver's answer."""
    request = urllib.request.Request(url, sent.body, method="POST")
    for name, value in sent.headers.items():
        request.add_header(name, value if isinstance(value, str) else value[0])
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def main():
    given = arguments()
    account = signing.Account(
        given.adapter, given.merchant, given.app, given.live,
        read(given.key_file), given.key_id,
        read(given.decrypt_file) if given.decrypt_file else b"",
        given.settings)
    try:
        sent = message(account, given.event, given.fault,
                       order_no=given.order, amount=given.amount,
                       currency=given.currency, txn_id=given.txn_id,
                       payment_txn=given.payment_txn,
                       refund_no=given.refund_no, capture=given.capture)
    except NoSuchMessage as error:
        print(error, file=sys.stderr)
        return 2
    status, body = post(given.url, sent)
    print(status, body.decode(errors="replace"))
    return 0 if 200 <= status < 300 else 1
