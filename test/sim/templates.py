"""Bodies as the gateways send them, made from templates.

Each function renders one document with every field that the gateways'
documentation names for it (in part nonsense that a reader must not take for
the real thing: coupons, fees, running totals).  What it renders comes in as
plain values: money as an integer of ISO 4217 minor units, times as seconds
since 1970.

Written from the gateways' documents.  decode.py, which reads these bodies,
shares no table, constant or helper with this file.

Signatures are stand-ins of the right shape: document() takes a body apart, and
signing.py signs what it says.
"""

import base64
import hashlib
import json
import time
from urllib.parse import parse_qsl, urlencode

BEIJING = 8 * 3600

WECHAT_APP = "wxd678efh567hg6787"
WECHAT_MERCHANT = "1230000109"
ALIPAY_APP = "2021000122600001"
ALIPAY_SELLER = "2088101106499364"
STRIPE_API = "2024-10-28.acacia"
ADYEN_MERCHANT = "TestMerchantECOM"


def scramble(*parts):
    """Hex digits that look random and depend on nothing but the parts."""
    text = "/".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def dump(document):
    return json.dumps(document, ensure_ascii=False).encode("utf-8")


def beijing(seconds, form):
    return time.strftime(form, time.gmtime(seconds + BEIJING))


# ---- WeChat Pay v3 ----

def wechat_time(seconds):
    return beijing(seconds, "%Y-%m-%dT%H:%M:%S+08:00")


def wechat_envelope(notice_id, kind, original_type, summary, sent_at, nonce,
                    resource):
    """A notice with what its ciphertext holds beside it, decrypted."""
    hidden = base64.b64encode(
        bytes.fromhex(scramble(notice_id, nonce) * 6)).decode()
    return dump({
        "envelope": {
            "id": notice_id,
            "create_time": wechat_time(sent_at),
            "resource_type": "encrypt-resource",
            "event_type": kind,
            "summary": summary,
            "resource": {
                "original_type": original_type,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": hidden,
                "associated_data": original_type,
                "nonce": nonce[:12],
            },
        },
        "resource": resource,
    })


def wechat_trade(out_trade_no, transaction_id, total, currency, state, paid_at):
    """A transaction, as notices and the query's answer show it."""
    descriptions = {"SUCCESS": "支付成功", "NOTPAY": "订单未支付",
                    "CLOSED": "订单已关闭", "PAYERROR": "支付失败",
                    "USERPAYING": "用户支付中", "REVOKED": "已撤销"}
    trade = {
        "appid": WECHAT_APP,
        "mchid": WECHAT_MERCHANT,
        "out_trade_no": out_trade_no,
        "trade_state": state,
        "trade_state_desc": descriptions[state],
        "attach": "",
    }
    if state in ("SUCCESS", "REVOKED"):
        trade.update({
            "transaction_id": transaction_id,
            "trade_type": "MICROPAY",
            "bank_type": "CMC",
            "success_time": wechat_time(paid_at),
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {
                "total": total,
                # a coupon: less than what the order got
                "payer_total": max(total - 1, 0),
                "currency": currency,
                "payer_currency": "CNY",
            },
            "scene_info": {"device_id": "013467007045764"},
            "promotion_detail": [{
                "coupon_id": "109519", "name": "单品惠-6", "scope": "SINGLE",
                "type": "CASH", "amount": 1, "stock_id": "931386",
                "wechatpay_contribute": 1, "merchant_contribute": 0,
                "other_contribute": 0, "currency": "CNY",
            }],
        })
    return trade


def wechat_paid(notice_id, nonce, sent_at, **trade):
    return wechat_envelope(notice_id, "TRANSACTION.SUCCESS", "transaction",
                           "支付成功", sent_at, nonce,
                           wechat_trade(state="SUCCESS", **trade))


def wechat_not_paid(notice_id, nonce, sent_at, out_trade_no, state):
    """The failure or end of a payment without money."""
    return wechat_envelope(notice_id, "TRANSACTION.FAIL", "transaction",
                           "支付失败", sent_at, nonce,
                           wechat_trade(out_trade_no, None, 0, "CNY", state,
                                        None))


def wechat_refunded(notice_id, nonce, sent_at, out_trade_no, transaction_id,
                    out_refund_no, refund_id, total, refund, status, done_at):
    resource = {
        "mchid": WECHAT_MERCHANT,
        "out_trade_no": out_trade_no,
        "transaction_id": transaction_id,
        "out_refund_no": out_refund_no,
        "refund_id": refund_id,
        "refund_status": status,
        "user_received_account": "招商银行信用卡0403",
        "amount": {
            "total": total,
            "refund": refund,
            "payer_total": max(total - 1, 0),
            "payer_refund": max(refund - 1, 0),
        },
    }
    if status == "SUCCESS":
        resource["success_time"] = wechat_time(done_at)
    return wechat_envelope(notice_id, "REFUND." + status, "refund",
                           "退款" + {"SUCCESS": "成功", "CLOSED": "关闭",
                                     "ABNORMAL": "异常"}[status],
                           sent_at, nonce, resource)


def wechat_profit_sharing(notice_id, nonce, sent_at, transaction_id):
    """A notice that is no payment's and must be ignored."""
    return wechat_envelope(notice_id, "PROFITSHARING.CLEARED",
                           "profitsharing", "分账动账通知", sent_at, nonce, {
                               "mchid": WECHAT_MERCHANT,
                               "transaction_id": transaction_id,
                               "order_id": scramble(notice_id)[:28],
                               "receiver": {"type": "MERCHANT_ID",
                                            "account": "1900000100",
                                            "amount": 1},
                               "success_time": wechat_time(sent_at)})


def wechat_refund_document(out_trade_no, transaction_id, out_refund_no,
                           refund_id, total, refund, currency, status, done_at):
    """Answer of /v3/refund/domestic/refunds, made and asked."""
    document = {
        "refund_id": refund_id,
        "out_refund_no": out_refund_no,
        "transaction_id": transaction_id,
        "out_trade_no": out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "招商银行信用卡0403",
        "create_time": wechat_time(done_at),
        "status": status,
        "funds_account": "AVAILABLE",
        "amount": {
            "total": total, "refund": refund, "from": [],
            "payer_total": max(total - 1, 0),
            "payer_refund": max(refund - 1, 0),
            "settlement_refund": refund, "settlement_total": total,
            "discount_refund": 0, "currency": currency, "refund_fee": 0,
        },
        "promotion_detail": [],
    }
    if status == "SUCCESS":
        document["success_time"] = wechat_time(done_at)
    return document


def wechat_error(code, message):
    return {"code": code, "message": message}


# ---- Alipay ----

def alipay_time(seconds):
    return beijing(seconds, "%Y-%m-%d %H:%M:%S")


def yuan(fen):
    return "%d.%02d" % divmod(fen, 100)


def alipay_form(notify_id, sent_at, charset, fields):
    form = {
        "notify_time": alipay_time(sent_at),
        "notify_type": "trade_status_sync",
        "notify_id": notify_id,
        "app_id": ALIPAY_APP,
        "auth_app_id": ALIPAY_APP,
        "charset": charset,
        "version": "1.0",
        "sign_type": "RSA2",
        "alipay_cert_sn": scramble("cert")[:32],
        "seller_id": ALIPAY_SELLER,
        "seller_email": "shop@example.com",
        "subject": "订单",
        "body": "一杯茶 & 两块饼",
    }
    form.update(fields)
    form["sign"] = base64.b64encode(
        bytes.fromhex(scramble(notify_id, sent_at) * 8)).decode()
    return urlencode(form, encoding=charset).encode("ascii")


def alipay_trade(out_trade_no, trade_no, status, total, created_at):
    return {
        "out_trade_no": out_trade_no,
        "trade_no": trade_no,
        "trade_status": status,
        "buyer_id": "2088102116773037",
        "buyer_logon_id": "159****5620",
        "total_amount": yuan(total),
        "gmt_create": alipay_time(created_at),
    }


def alipay_money(total, paid_at):
    """What a paid trade says beside its total, all of it smaller."""
    less = max(total - 1, 0)
    return {
        "receipt_amount": yuan(less),
        "buyer_pay_amount": yuan(less),
        "invoice_amount": yuan(less),
        "point_amount": "0.00",
        "fund_bill_list": json.dumps(
            [{"amount": yuan(less), "fundChannel": "ALIPAYACCOUNT"}]),
        "gmt_payment": alipay_time(paid_at),
    }


def alipay_paid(notify_id, sent_at, charset, out_trade_no, trade_no, total,
                paid_at, status="TRADE_SUCCESS"):
    fields = alipay_trade(out_trade_no, trade_no, status, total, paid_at - 2)
    fields.update(alipay_money(total, paid_at))
    if status == "TRADE_FINISHED":
        fields["gmt_close"] = alipay_time(sent_at)
    return alipay_form(notify_id, sent_at, charset, fields)


def alipay_waiting(notify_id, sent_at, charset, out_trade_no, trade_no, total):
    return alipay_form(notify_id, sent_at, charset,
                       alipay_trade(out_trade_no, trade_no, "WAIT_BUYER_PAY",
                                    total, sent_at))


def alipay_closed(notify_id, sent_at, charset, out_trade_no, trade_no, total):
    fields = alipay_trade(out_trade_no, trade_no, "TRADE_CLOSED", total,
                          sent_at - 2)
    fields["gmt_close"] = alipay_time(sent_at)
    return alipay_form(notify_id, sent_at, charset, fields)


def alipay_refunded(notify_id, sent_at, charset, out_trade_no, trade_no, total,
                    paid_at, out_biz_no, refunded_so_far, done_at):
    """refund_fee is the running total of the trade, not this refund's."""
    status = "TRADE_CLOSED" if refunded_so_far == total else "TRADE_SUCCESS"
    fields = alipay_trade(out_trade_no, trade_no, status, total, paid_at - 2)
    fields.update(alipay_money(total, paid_at))
    fields["refund_fee"] = yuan(refunded_so_far)
    fields["gmt_refund"] = alipay_time(done_at) + ".320"
    fields["out_biz_no"] = out_biz_no
    return alipay_form(notify_id, sent_at, charset, fields)


def alipay_answer(method, content):
    answer = {"code": "10000", "msg": "Success"}
    answer.update(content)
    return {"alipay_" + method + "_response": answer,
            "sign": scramble(method)[:32], "alipay_cert_sn": scramble("cert")}


def alipay_refusal(method, sub_code, message):
    return alipay_answer(method, {"code": "40004", "msg": "Business Failed",
                                  "sub_code": sub_code, "sub_msg": message})


def alipay_query_document(out_trade_no, trade_no, status, total, paid_at):
    content = alipay_trade(out_trade_no, trade_no, status, total, paid_at)
    content["buyer_user_id"] = content.pop("buyer_id")
    content["buyer_user_type"] = "PRIVATE"
    if status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
        content.update(alipay_money(total, paid_at))
        content["send_pay_date"] = content.pop("gmt_payment")
    return alipay_answer("trade_query", content)


def alipay_close_document(out_trade_no, trade_no):
    return alipay_answer("trade_close", {"trade_no": trade_no,
                                         "out_trade_no": out_trade_no})


def alipay_refund_made(out_trade_no, trade_no, refunded_so_far, changed,
                       done_at):
    """Answer of alipay.trade.refund: refund_fee is the total here too."""
    return alipay_answer("trade_refund", {
        "trade_no": trade_no, "out_trade_no": out_trade_no,
        "buyer_logon_id": "159****5620",
        "fund_change": "Y" if changed else "N",
        "refund_fee": yuan(refunded_so_far),
        "gmt_refund_pay": alipay_time(done_at)})


def alipay_refund_document(out_trade_no, trade_no, out_request_no, total,
                           refund, status, done_at):
    """Answer of alipay.trade.fastpay.refund.query."""
    content = {"trade_no": trade_no, "out_trade_no": out_trade_no,
               "out_request_no": out_request_no, "total_amount": yuan(total),
               "refund_amount": yuan(refund)}
    if status:
        content["refund_status"] = status
        content["gmt_refund_pay"] = alipay_time(done_at)
    return alipay_answer("trade_fastpay_refund_query", content)


# ---- Stripe ----

def stripe_amount(value, currency):
    """Stripe's own unit: ISK and UGX in hundredths, else minor units."""
    return value * 100 if currency in ("ISK", "UGX") else value


def stripe_event(event_id, kind, sent_at, thing):
    return dump({
        "id": event_id,
        "object": "event",
        "api_version": STRIPE_API,
        "created": int(sent_at),
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_" + scramble(event_id)[:14],
                    "idempotency_key": None},
        "type": kind,
    })


def stripe_intent(intent_id, payment_no, value, currency, status, created_at,
                  charge=None, failure=None):
    amount = stripe_amount(value, currency)
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": amount if status == "succeeded" else 0,
        "application": None,
        "automatic_payment_methods": {"enabled": True},
        "canceled_at": int(created_at) if status == "canceled" else None,
        "cancellation_reason":
            "abandoned" if status == "canceled" else None,
        "capture_method": "automatic",
        "client_secret": None,
        "confirmation_method": "automatic",
        "created": int(created_at),
        "currency": currency.lower(),
        "customer": None,
        "description": "order",
        "last_payment_error": failure,
        "latest_charge": charge,
        "livemode": False,
        "metadata": {"payment_no": payment_no},
        "next_action": None,
        "payment_method_types": ["card"],
        "receipt_email": None,
        "setup_future_usage": None,
        "status": status,
    }


def stripe_paid(event_id, sent_at, intent_id, charge, payment_no, value,
                currency, created_at):
    return stripe_event(event_id, "payment_intent.succeeded", sent_at,
                        stripe_intent(intent_id, payment_no, value, currency,
                                      "succeeded", created_at, charge))


def stripe_declined(event_id, sent_at, intent_id, charge, payment_no, value,
                    currency, created_at):
    failure = {"type": "card_error", "code": "card_declined",
               "decline_code": "insufficient_funds", "charge": charge,
               "message": "Your card has insufficient funds."}
    return stripe_event(event_id, "payment_intent.payment_failed", sent_at,
                        stripe_intent(intent_id, payment_no, value, currency,
                                      "requires_payment_method", created_at,
                                      charge, failure))


def stripe_canceled(event_id, sent_at, intent_id, payment_no, value, currency,
                    created_at):
    return stripe_event(event_id, "payment_intent.canceled", sent_at,
                        stripe_intent(intent_id, payment_no, value, currency,
                                      "canceled", created_at))


def stripe_charge(event_id, kind, sent_at, intent_id, charge, payment_no, value,
                  currency, refunded=0):
    """charge.*: doubles of what payment_intent.* and refund.* say."""
    return stripe_event(event_id, kind, sent_at, {
        "id": charge,
        "object": "charge",
        "amount": stripe_amount(value, currency),
        "amount_captured": stripe_amount(value, currency),
        "amount_refunded": stripe_amount(refunded, currency),
        "balance_transaction": "txn_" + scramble(charge)[:24],
        "captured": True,
        "created": int(sent_at),
        "currency": currency.lower(),
        "metadata": {"payment_no": payment_no},
        "paid": True,
        "payment_intent": intent_id,
        "payment_method_details": {"type": "card",
                                   "card": {"brand": "visa",
                                            "last4": "4242"}},
        "refunded": refunded == value,
        "status": "succeeded",
    })


def stripe_refund_object(refund_id, intent_id, charge, refund_no, value,
                         currency, status, created_at):
    return {
        "id": refund_id,
        "object": "refund",
        "amount": stripe_amount(value, currency),
        "balance_transaction": "txn_" + scramble(refund_id)[:24],
        "charge": charge,
        "created": int(created_at),
        "currency": currency.lower(),
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "failure_reason": "expired_or_canceled_card"
                          if status == "failed" else None,
        "metadata": {"refund_no": refund_no} if refund_no else {},
        "payment_intent": intent_id,
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }


def stripe_refund_event(event_id, kind, sent_at, refund):
    return stripe_event(event_id, kind, sent_at, refund)


def stripe_dispute(event_id, kind, sent_at, dispute_id, intent_id, charge,
                   value, currency, status):
    """charge.dispute.*; the fee is not part of the amount."""
    amount = stripe_amount(value, currency)
    return stripe_event(event_id, "charge.dispute." + kind, sent_at, {
        "id": dispute_id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [{
            "amount": -amount, "fee": 1500, "net": -amount - 1500,
            "currency": currency.lower(), "type": "adjustment"}],
        "charge": charge,
        "created": int(sent_at),
        "currency": currency.lower(),
        "evidence_details": {"has_evidence": False, "past_due": False},
        "is_charge_refundable": False,
        "metadata": {},
        "payment_intent": intent_id,
        "reason": "fraudulent",
        "status": status,
    })


def stripe_missing(what):
    return {"error": {"code": "resource_missing",
                      "doc_url": "https://stripe.com/docs/error-codes",
                      "message": "No such " + what,
                      "type": "invalid_request_error"}}


def stripe_cannot_cancel(intent):
    return {"error": {"code": "payment_intent_unexpected_state",
                      "message": "You cannot cancel this PaymentIntent.",
                      "payment_intent": intent,
                      "type": "invalid_request_error"}}


# ---- Adyen ----

def adyen_item(event, psp, merchant_reference, value, currency, sent_at,
               original=None, success=True, reason=""):
    item = {
        "additionalData": {"hmacSignature": base64.b64encode(
            bytes.fromhex(scramble(psp, event))).decode()},
        "amount": {"value": value, "currency": currency},
        "eventCode": event,
        "eventDate": time.strftime("%Y-%m-%dT%H:%M:%S+01:00",
                                   time.gmtime(sent_at + 3600)),
        "merchantAccountCode": ADYEN_MERCHANT,
        "merchantReference": merchant_reference,
        "paymentMethod": "visa",
        "pspReference": psp,
        "reason": reason,
        "success": "true" if success else "false",
    }
    if original is not None:
        item["originalReference"] = original
    return item


def adyen_post(*items):
    """One POST may hold several items."""
    return dump({"live": "false", "notificationItems": [
        {"NotificationRequestItem": item} for item in items]})


def adyen_received(psp, original):
    """Answer to a modification: what came of it is told later."""
    return {"merchantAccount": ADYEN_MERCHANT, "pspReference": psp,
            "paymentPspReference": original, "status": "received"}


# ---- any other gateway, by the settings of the adapter hmac ----

def set_at(document, path, value):
    """Sets what is at a path, "data.order.id"."""
    *way, last = path.split(".")
    for name in way:
        document = document.setdefault(name, {})
    document[last] = value


def hmac_event(settings, event, sent_at, **facts):
    """An event (payorder's word), with facts by the names of their settings."""
    words = [word for word, meant in settings["events"].items()
             if meant == event]
    document = {}
    set_at(document, settings["event"], words[0] if words else event)
    if "occurred_at" in settings:
        facts["occurred_at"] = int(sent_at)
    for name, value in facts.items():
        if value is not None and name in settings:
            set_at(document, settings[name], value)
    return dump(document)


def till_payment(payment, state):
    """Answer to a question about a payment."""
    return {"state": state, "payment": payment, "shop": "shop-1"}


def till_refund(payment, refund, state):
    return {**till_payment(payment, state), "refund": refund}


# ---- as documents ----

def document(adapter, body):
    """What a body says, for signing.py to say it anew."""
    if adapter != "alipay":
        return json.loads(body)
    charset = "gbk" if b"charset=gbk" in body else "utf-8"
    fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True,
                            encoding=charset))
    del fields["sign"]
    return fields
