"""Gateway messages to canonical facts.

What a shop's own program does: reads a gateway's answer to a question and says
what it means in payorder's words (the table "Message to canonical event and
key").  Bodies of callbacks it reads for comparison only: payorder's own adapters
must find the same in what is signed of them (endpoint.py).

Written from the table alone.  It imports nothing of the generator
(templates.py), no table, constant or helper, so that an error in one of the
two shows as a difference.

Choices where the table leaves room:
- Alipay tells a refund as the running total of the trade, in the notice and
  in the answer to the request (refund_fee): amount_is_total.  The answer of
  alipay.trade.fastpay.refund.query has the single amount.
- An Alipay answer with fund_change=N says that this request moved nothing: the
  refund may have been made before, or be under way.  It is asked about.
- The Adyen account captures a payment in several parts: each CAPTURE is a
  pay_part with its own pspReference.  A refund's originalReference is the
  authorisation's then, which is no payment here, and so is left out; the
  refund's own number says what it is about.
- The key of an Alipay pay_closed is the payment number, also where the form
  has a trade_no: the answer to a close has none.

Invariants: money is an integer of minor units or the message is refused; a
JSON key or form field that appears twice is refused; what the table does not
list gives no fact.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote_to_bytes


class BadMessage(ValueError):
    """The message has not the form that its gateway documents."""


@dataclass(frozen=True)
class Fact:
    """One canonical event, as payorder.ingest() takes it."""

    gateway: str
    txn_id: str
    event: str
    order_no: str | None = None
    amount: int | None = None
    currency: str | None = None
    occurred_at: datetime | None = None
    payment_txn: str | None = None
    refund_no: str | None = None
    payload: str | None = None
    amount_is_total: bool = False


@dataclass(frozen=True)
class Answer:
    """What a gateway answered.

    kind: paid, not_paid, failed, closed, reversed, unknown or already_paid for
    a payment; done, pending, failed, stuck or unknown for a refund.
    """

    kind: str
    facts: tuple[Fact, ...] = ()


# ---- money and time ----

NO_DECIMALS = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
# Stripe counts these two in hundredths though they have none.
STRIPE_HUNDREDTHS = frozenset(("ISK", "UGX"))

DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,6}))?")
CURRENCY = re.compile(r"[A-Z]{3}")
CHINA = timezone(timedelta(hours=8))


def decimals(currency):
    """How many decimals the minor unit of a currency has."""
    if not CURRENCY.fullmatch(currency):
        raise BadMessage("not a currency code")
    if currency in NO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def minor_units(text, currency):
    """'19.90', 'CNY' -> 1990; refuses what is no such decimal."""
    digits = decimals(currency)
    match = DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadMessage("not a decimal amount")
    whole, part = match.group(1), match.group(2) or ""
    if len(part) > digits:
        raise BadMessage("more decimals than the currency has")
    return int(whole + part.ljust(digits, "0"))


def integer(value):
    """An amount that is a JSON integer; 100.0, "100" and true are not."""
    if type(value) is not int:
        raise BadMessage("not an integer amount")
    return value


def stripe_units(value, currency):
    """Stripe's integer in minor units of ISO 4217."""
    value = integer(value)
    decimals(currency)
    if currency in STRIPE_HUNDREDTHS:
        value, rest = divmod(value, 100)
        if rest:
            raise BadMessage("fraction of a currency without decimals")
    return value


def rfc3339(text):
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadMessage("not a time") from None
    if when.tzinfo is None:
        raise BadMessage("time without zone")
    return when


def china_time(text):
    """Alipay's times: local to China, with or without milliseconds."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=CHINA)
        except ValueError:
            continue
    raise BadMessage("not a time")


def unix_time(value):
    return datetime.fromtimestamp(integer(value), timezone.utc)


# ---- documents ----

def once(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadMessage("a JSON key appears twice")
    return found


def read_json(body):
    try:
        document = json.loads(body, object_pairs_hook=once)
    except BadMessage:
        raise
    except ValueError:
        raise BadMessage("not JSON") from None
    if not isinstance(document, dict):
        raise BadMessage("not a JSON object")
    return document


def read_form(body):
    """A form's fields, in the charset that the form itself names."""
    raw = {}
    for pair in body.split(b"&"):
        name, equals, value = pair.partition(b"=")
        name = unquote_to_bytes(name.replace(b"+", b" "))
        if not equals or name in raw:
            raise BadMessage("form field without value or twice")
        raw[name] = unquote_to_bytes(value.replace(b"+", b" "))
    try:
        charset = raw.get(b"charset", b"utf-8").decode("ascii").lower()
        if charset not in ("utf-8", "gbk", "gb2312", "gb18030"):
            raise BadMessage("unknown charset")
        return {name.decode("ascii"): value.decode(charset)
                for name, value in raw.items()}
    except UnicodeDecodeError:
        raise BadMessage("not in its charset") from None


def text_of(document, name):
    """A member that must be a text with something in it."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise BadMessage("no " + name)
    return value


def optional_text(document, name):
    value = document.get(name)
    if value is None or value == "":
        return None
    return text_of(document, name)


def part_of(document, name):
    value = document.get(name)
    if not isinstance(value, dict):
        raise BadMessage("no " + name)
    return value


def compact(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


# ---- WeChat Pay v3 ----

def wechat_payment(gateway, trade, payload):
    """Facts of a transaction, from a notice or from a query's answer."""
    state = trade.get("trade_state")
    number = text_of(trade, "out_trade_no")
    if state in ("SUCCESS", "REVOKED"):
        amount = part_of(trade, "amount")
        return [Fact(gateway, text_of(trade, "transaction_id"),
                     "pay" if state == "SUCCESS" else "pay_reversed",
                     order_no=number,
                     amount=integer(amount.get("total")),
                     currency=text_of(amount, "currency"),
                     occurred_at=rfc3339(text_of(trade, "success_time")),
                     payload=payload)]
    if state in ("CLOSED", "PAYERROR"):
        return [Fact(gateway, number,
                     "pay_closed" if state == "CLOSED" else "pay_failed",
                     order_no=number, payload=payload)]
    return []


WECHAT_REFUNDS = {"SUCCESS": "refund", "CLOSED": "refund_failed",
                  "ABNORMAL": "refund_stuck"}


def wechat_refund(gateway, refund, status, payload):
    event = WECHAT_REFUNDS.get(status)
    if event is None:
        return []
    when = optional_text(refund, "success_time")
    amount = part_of(refund, "amount")
    return [Fact(gateway, text_of(refund, "refund_id"), event,
                 order_no=text_of(refund, "out_trade_no"),
                 amount=integer(amount.get("refund")),
                 currency=optional_text(amount, "currency"),
                 occurred_at=rfc3339(when) if when else None,
                 payment_txn=text_of(refund, "transaction_id"),
                 refund_no=text_of(refund, "out_refund_no"),
                 payload=payload)]


def wechat_notice(gateway, body):
    """{"envelope": as it came, "resource": what was decrypted of it}."""
    document = read_json(body)
    envelope = part_of(document, "envelope")
    resource = part_of(document, "resource")
    kind = text_of(envelope, "event_type")
    payload = body.decode("utf-8")
    if kind == "TRANSACTION.SUCCESS":
        return wechat_payment(gateway, resource, payload)
    family, _, status = kind.partition(".")
    if family == "REFUND":
        if resource.get("refund_status") != status:
            raise BadMessage("event_type and refund_status differ")
        return wechat_refund(gateway, resource, status, payload)
    return []


PAYMENT_KINDS = {"pay": "paid", "pay_failed": "failed",
                 "pay_closed": "closed", "pay_reversed": "reversed"}
REFUND_KINDS = {"refund": "done", "refund_failed": "failed",
                "refund_stuck": "stuck"}


def wechat_query(gateway, payment_no, document):
    if document.get("code") == "ORDER_NOT_EXIST":
        return Answer("unknown")
    facts = wechat_payment(gateway, document, compact(document))
    return Answer(PAYMENT_KINDS.get(facts[0].event, "not_paid")
                  if facts else "not_paid", tuple(facts))


def wechat_close(gateway, payment_no, document):
    code = document.get("code")
    if code == "ORDER_NOT_EXIST":
        return Answer("unknown")
    if code == "ORDER_PAID":
        return Answer("already_paid")
    if code is not None:
        raise BadMessage("close refused")
    return Answer("closed", (Fact(gateway, payment_no, "pay_closed",
                                  order_no=payment_no,
                                  payload=compact(document)),))


def wechat_refund_answer(gateway, document, number):
    if document.get("code") == "RESOURCE_NOT_EXISTS":
        return Answer("unknown")
    facts = wechat_refund(gateway, document, document.get("status"),
                          compact(document))
    return Answer(REFUND_KINDS[facts[0].event] if facts else "pending",
                  tuple(facts))


# ---- Alipay ----

def alipay_pay(gateway, trade, when, payload):
    return Fact(gateway, text_of(trade, "trade_no"), "pay",
                order_no=text_of(trade, "out_trade_no"),
                amount=minor_units(trade.get("total_amount"), "CNY"),
                currency="CNY",
                occurred_at=china_time(when) if when else None,
                payload=payload)


def alipay_notice(gateway, body):
    form = read_form(body)
    payload = compact(form)
    status = form.get("trade_status")
    refunded = any(form.get(name)
                   for name in ("refund_fee", "gmt_refund", "out_biz_no"))
    if status not in ("TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"):
        return []
    if status == "TRADE_CLOSED" and not refunded:
        number = text_of(form, "out_trade_no")
        return [Fact(gateway, number, "pay_closed", order_no=number,
                     payload=payload)]
    facts = [alipay_pay(gateway, form, optional_text(form, "gmt_payment"),
                        payload)]
    if refunded:
        facts.append(alipay_refund_notice(gateway, form, payload))
    return facts


def alipay_refund_notice(gateway, form, payload):
    trade_no = text_of(form, "trade_no")
    number = optional_text(form, "out_biz_no")
    when = optional_text(form, "gmt_refund")
    return Fact(gateway,
                trade_no + ":" + (number or text_of(form, "out_trade_no")),
                "refund",
                order_no=text_of(form, "out_trade_no"),
                amount=minor_units(form.get("refund_fee"), "CNY"),
                currency="CNY",
                occurred_at=china_time(when) if when else None,
                payment_txn=trade_no, refund_no=number, payload=payload,
                amount_is_total=True)


def alipay_response(document, name):
    """A response's content, and its sub_code where it is an error."""
    response = part_of(document, name)
    if response.get("code") == "10000":
        return response, None
    return response, text_of(response, "sub_code")


def alipay_query(gateway, payment_no, document):
    trade, error = alipay_response(document, "alipay_trade_query_response")
    if error == "ACQ.TRADE_NOT_EXIST":
        return Answer("unknown")
    if error:
        raise BadMessage("query refused")
    status = trade.get("trade_status")
    if status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
        return Answer("paid", (alipay_pay(
            gateway, trade, optional_text(trade, "send_pay_date"),
            compact(document)),))
    if status == "TRADE_CLOSED":
        number = text_of(trade, "out_trade_no")
        return Answer("closed", (Fact(gateway, number, "pay_closed",
                                      order_no=number,
                                      payload=compact(document)),))
    return Answer("not_paid")


def alipay_close(gateway, payment_no, document):
    _, error = alipay_response(document, "alipay_trade_close_response")
    if error == "ACQ.TRADE_NOT_EXIST":
        return Answer("unknown")
    if error == "ACQ.TRADE_STATUS_ERROR":
        return Answer("already_paid")
    if error:
        raise BadMessage("close refused")
    return Answer("closed", (Fact(gateway, payment_no, "pay_closed",
                                  order_no=payment_no,
                                  payload=compact(document)),))


def alipay_refund_made(gateway, document, number):
    """alipay.trade.refund; it doesn't say which refund it is about."""
    answer, error = alipay_response(document, "alipay_trade_refund_response")
    if error or answer.get("fund_change") != "Y":
        return Answer("pending")
    trade_no = text_of(answer, "trade_no")
    when = optional_text(answer, "gmt_refund_pay")
    return Answer("done", (Fact(
        gateway, trade_no + ":" + number, "refund",
        order_no=text_of(answer, "out_trade_no"),
        amount=minor_units(answer.get("refund_fee"), "CNY"),
        currency="CNY", occurred_at=china_time(when) if when else None,
        payment_txn=trade_no, refund_no=number, payload=compact(document),
        amount_is_total=True),))


def alipay_refund_answer(gateway, document, number):
    """The answer of a refund, or of alipay.trade.fastpay.refund.query."""
    if "alipay_trade_refund_response" in document:
        return alipay_refund_made(gateway, document, number)
    answer, error = alipay_response(
        document, "alipay_trade_fastpay_refund_query_response")
    if error in ("ACQ.TRADE_NOT_EXIST", "TRADE_NOT_EXIST"):
        return Answer("unknown")
    status = answer.get("refund_status")
    event = {"REFUND_SUCCESS": "refund", "REFUND_FAIL": "refund_failed"}
    if error or status not in event:
        return Answer("pending")
    trade_no = text_of(answer, "trade_no")
    number = text_of(answer, "out_request_no")
    when = optional_text(answer, "gmt_refund_pay")
    fact = Fact(gateway, trade_no + ":" + number, event[status],
                order_no=text_of(answer, "out_trade_no"),
                amount=minor_units(answer.get("refund_amount"), "CNY"),
                currency="CNY",
                occurred_at=china_time(when) if when else None,
                payment_txn=trade_no, refund_no=number,
                payload=compact(document))
    return Answer(REFUND_KINDS[fact.event], (fact,))


# ---- Stripe ----

def stripe_currency(thing):
    return text_of(thing, "currency").upper()


def stripe_succeeded(gateway, event_id, intent, when, payload):
    currency = stripe_currency(intent)
    return Fact(gateway, text_of(intent, "id"), "pay",
                order_no=optional_text(part_of(intent, "metadata"),
                                       "payment_no"),
                amount=stripe_units(intent.get("amount_received"), currency),
                currency=currency, occurred_at=when, payload=payload)


def stripe_failed(gateway, event_id, intent, when, payload):
    charge = optional_text(intent, "latest_charge")
    if charge is None and isinstance(intent.get("last_payment_error"), dict):
        charge = optional_text(intent["last_payment_error"], "charge")
    return Fact(gateway, charge or event_id, "pay_failed",
                order_no=optional_text(part_of(intent, "metadata"),
                                       "payment_no"),
                occurred_at=when, payment_txn=text_of(intent, "id"),
                payload=payload)


def stripe_canceled(gateway, event_id, intent, when, payload):
    return Fact(gateway, text_of(intent, "id"), "pay_closed",
                order_no=optional_text(part_of(intent, "metadata"),
                                       "payment_no"),
                occurred_at=when, payload=payload)


def stripe_refund(gateway, event_id, refund, when, payload):
    event = {"succeeded": "refund", "failed": "refund_failed",
             "canceled": "refund_failed"}.get(refund.get("status"))
    if event is None:
        return None
    currency = stripe_currency(refund)
    return Fact(gateway, text_of(refund, "id"), event,
                amount=stripe_units(refund.get("amount"), currency),
                currency=currency, occurred_at=when,
                payment_txn=text_of(refund, "payment_intent"),
                refund_no=optional_text(refund.get("metadata") or {},
                                        "refund_no"),
                payload=payload)


def stripe_dispute(event):
    """A reader of disputes that says this event."""
    def read(gateway, event_id, dispute, when, payload):
        currency = stripe_currency(dispute)
        money = event != "chargeback_lost"
        if not money and dispute.get("status") != "lost":
            return None
        return Fact(gateway, text_of(dispute, "id"), event,
                    amount=stripe_units(dispute.get("amount"), currency)
                    if money else None,
                    currency=currency if money else None, occurred_at=when,
                    payment_txn=text_of(dispute, "payment_intent"),
                    payload=payload)
    return read


STRIPE_EVENTS = {
    "payment_intent.succeeded": stripe_succeeded,
    "payment_intent.payment_failed": stripe_failed,
    "payment_intent.canceled": stripe_canceled,
    "refund.created": stripe_refund,
    "refund.updated": stripe_refund,
    "refund.failed": stripe_refund,
    "charge.dispute.funds_withdrawn": stripe_dispute("chargeback"),
    "charge.dispute.funds_reinstated": stripe_dispute("chargeback_reversed"),
    "charge.dispute.closed": stripe_dispute("chargeback_lost"),
}


def stripe_notice(gateway, body):
    event = read_json(body)
    read = STRIPE_EVENTS.get(text_of(event, "type"))
    if read is None:
        return []
    fact = read(gateway, text_of(event, "id"),
                part_of(part_of(event, "data"), "object"),
                unix_time(event.get("created")), body.decode("utf-8"))
    return [] if fact is None else [fact]


def stripe_missing(document):
    error = document.get("error")
    return isinstance(error, dict) and error.get("code") == "resource_missing"


def stripe_query(gateway, payment_no, document):
    if stripe_missing(document):
        return Answer("unknown")
    payload = compact(document)
    status = document.get("status")
    when = unix_time(document.get("created"))
    if status == "succeeded":
        return Answer("paid", (stripe_succeeded(gateway, "", document, when,
                                                payload),))
    if status == "canceled":
        return Answer("closed", (stripe_canceled(gateway, "", document, when,
                                                 payload),))
    return Answer("not_paid")


def stripe_close(gateway, payment_no, document):
    error = document.get("error")
    if isinstance(error, dict) and \
            error.get("code") == "payment_intent_unexpected_state":
        intent = part_of(error, "payment_intent")
        if intent.get("status") == "succeeded":
            return Answer("already_paid")
        document = intent
    return stripe_query(gateway, payment_no, document)


def stripe_refund_answer(gateway, document, number):
    if stripe_missing(document):
        return Answer("unknown")
    fact = stripe_refund(gateway, "", document,
                         unix_time(document.get("created")),
                         compact(document))
    if fact is None:
        return Answer("pending")
    return Answer(REFUND_KINDS[fact.event], (fact,))


# ---- Adyen ----

# (event, success): (canonical event, whether it carries money)
ADYEN_EVENTS = {
    ("AUTHORISATION", True): ("authorised", False),
    ("AUTHORISATION", False): ("pay_failed", False),
    ("CAPTURE", True): ("pay_part", True),
    ("CAPTURE_FAILED", True): ("pay_reversed", True),
    ("CANCELLATION", True): ("pay_closed", False),
    ("TECHNICAL_CANCEL", True): ("pay_closed", False),
    ("REFUND", True): ("refund", True),
    ("REFUND", False): ("refund_failed", True),
    ("REFUND_FAILED", True): ("refund_failed", True),
}


def adyen_item(gateway, item):
    success = {"true": True, "false": False}.get(item.get("success"))
    if success is None:
        raise BadMessage("neither success nor none")
    event, has_money = ADYEN_EVENTS.get((text_of(item, "eventCode"), success),
                                        (None, False))
    if event is None:
        return []
    psp = text_of(item, "pspReference")
    reference = optional_text(item, "merchantReference")
    amount = part_of(item, "amount") if has_money else None
    about_refund = event.startswith("refund")
    facts = []
    if event == "pay_reversed":         # whichever of the two is news
        facts.append(Fact(gateway, psp, "pay_failed", order_no=reference,
                          occurred_at=rfc3339(text_of(item, "eventDate")),
                          payload=compact(item)))
    facts.append(Fact(
        gateway, psp, event,
        order_no=None if about_refund or event == "pay_reversed"
        else reference,
        amount=integer(amount.get("value")) if has_money else None,
        currency=text_of(amount, "currency") if has_money else None,
        occurred_at=rfc3339(text_of(item, "eventDate")),
        payment_txn=psp if event == "pay_reversed" else None,
        refund_no=reference if about_refund else None,
        payload=compact(item)))
    return facts


def adyen_notice(gateway, body):
    document = read_json(body)
    if document.get("live") != "false":
        raise BadMessage("not of the test mode")
    items = document.get("notificationItems")
    if not isinstance(items, list):
        raise BadMessage("no items")
    return [fact for item in items for fact in adyen_item(
        gateway, part_of(item, "NotificationRequestItem"))]


def adyen_query(gateway, payment_no, document):
    """Adyen can't be asked; all that it has to say comes by itself."""
    return Answer("not_paid")


def adyen_refund_answer(gateway, document, number):
    return Answer("pending")


# ---- the till ----

TILL_EVENTS = {"paid": "pay", "declined": "pay_failed", "ended": "pay_closed",
               "taken back": "pay_reversed", "refunded": "refund",
               "refund declined": "refund_failed"}


def till_payment(gateway, payment, event, when, payload):
    money = event == "pay"
    return Fact(gateway, text_of(payment, "id"), event,
                order_no=text_of(payment, "number"),
                amount=integer(payment.get("amount")) if money else None,
                currency=text_of(payment, "currency") if money else None,
                occurred_at=when, payload=payload)


def till_refund(gateway, payment, refund, event, when, payload):
    return Fact(gateway, text_of(refund, "id"), event,
                order_no=text_of(payment, "number"),
                amount=integer(refund.get("amount")),
                currency=text_of(payment, "currency"), occurred_at=when,
                payment_txn=text_of(payment, "id"),
                refund_no=text_of(refund, "number"), payload=payload)


def till_notice(gateway, body):
    document = read_json(body)
    event = TILL_EVENTS.get(text_of(document, "kind"))
    if event is None:
        return []
    payment, when = part_of(document, "payment"), unix_time(document.get("at"))
    payload = body.decode("utf-8")
    if event.startswith("refund"):
        return [till_refund(gateway, payment, part_of(document, "refund"),
                            event, when, payload)]
    return [till_payment(gateway, payment, event, when, payload)]


def till_query(gateway, payment_no, document):
    state = text_of(document, "state")
    if state == "unknown":
        return Answer("unknown")
    event = TILL_EVENTS.get(state)
    if event is None:
        return Answer("not_paid")
    fact = till_payment(gateway, part_of(document, "payment"), event, None,
                        compact(document))
    return Answer(PAYMENT_KINDS[event], (fact,))


def till_close(gateway, payment_no, document):
    if text_of(document, "state") == "paid":
        return Answer("already_paid")
    return till_query(gateway, payment_no, document)


def till_refund_answer(gateway, document, number):
    state = text_of(document, "state")
    if state == "unknown":
        return Answer("unknown")
    event = TILL_EVENTS.get(state)
    if event is None:
        return Answer("pending")
    fact = till_refund(gateway, part_of(document, "payment"),
                       part_of(document, "refund"), event, None,
                       compact(document))
    return Answer(REFUND_KINDS[event], (fact,))


# ---- by gateway ----

NOTICES = {"wechat": wechat_notice, "alipay": alipay_notice,
           "stripe": stripe_notice, "adyen": adyen_notice,
           "till": till_notice}
QUERIES = {"wechat": wechat_query, "alipay": alipay_query,
           "stripe": stripe_query, "adyen": adyen_query,
           "till": till_query}
CLOSES = {"wechat": wechat_close, "alipay": alipay_close,
          "stripe": stripe_close, "adyen": adyen_query, "till": till_close}
REFUNDS = {"wechat": wechat_refund_answer, "alipay": alipay_refund_answer,
           "stripe": stripe_refund_answer, "adyen": adyen_refund_answer,
           "till": till_refund_answer}


def notice(gateway, body):
    """The facts of a callback's body (bytes); none: it says nothing to us."""
    return NOTICES[gateway](gateway, body)


def payment_answer(gateway, payment_no, document):
    """What the answer to "how stands this payment?" says."""
    return QUERIES[gateway](gateway, payment_no, document)


def close_answer(gateway, payment_no, document):
    """What the answer to "close this payment" says."""
    return CLOSES[gateway](gateway, payment_no, document)


def refund_answer(gateway, document, number):
    """What the answer to "refund this" or "how stands this refund?" says."""
    return REFUNDS[gateway](gateway, document, number)
