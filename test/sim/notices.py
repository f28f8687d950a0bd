"""Notices of WeChat Pay and Alipay, signed as these sign them (signing.py),
in all the ways that a test may want.

The keys are for tests alone: those beside this file in keys/, and two APIv3
keys.  Nothing here reads the clock or a random number, so the same call gives
the same bytes.
"""

import base64
import functools
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.hazmat.primitives import serialization

import signing

KEYS = Path(__file__).with_name("keys")
CHINA = timezone(timedelta(hours=8))


@functools.cache
def private_key(name):
    """As PEM."""
    return (KEYS / (name + ".pem")).read_bytes()


def public_key(name):
    """The base64 of the SubjectPublicKeyInfo, as gateways show it."""
    key = signing.private_key(private_key(name)).public_key()
    return base64.b64encode(key.public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo)).decode()


def sign(name, data):
    return signing.rsa_sha256(private_key(name), data)


# ---- WeChat Pay ----

MERCHANT = "1900000109"
APP = "wxd678efh567hg6787"
SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
PUBLIC_ID = "PUB_KEY_ID_0119000001092024071500003"
API_KEY = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb"
OLD_API_KEY = "Test-key-of-32-bytes-before-that"
SIGNERS = {SERIAL: "wechatpay_platform", PUBLIC_ID: "wechatpay_public"}


def compact(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def seal(plain, key=API_KEY, nonce="uluk4a9R25RW", aad="transaction"):
    return signing.aes_gcm_seal(
        key.encode(), nonce.encode()[:12].ljust(12, b"-"),
        (aad or "").encode(), plain)


def envelope(kind, plain, key=API_KEY, nonce="uluk4a9R25RW",
             aad="transaction", without=(), **changes):
    """The body around a resource; aad None: without associated_data."""
    resource = {
        "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": seal(plain, key, nonce, aad),
        "associated_data": aad, "nonce": nonce,
    }
    document = {
        "id": "EV-2018022511223320873", "create_time": "2023-11-15T06:13:20+08:00",
        "resource_type": "encrypt-resource", "event_type": kind,
        "summary": "支付成功", "resource": resource,
    }
    if aad is None:
        del resource["associated_data"]
    for name, value in changes.items():
        holder = resource if name in resource else document
        holder[name] = value
    for name in without:
        holder = resource if name in resource else document
        del holder[name]
    return compact(document).encode()


def wechatpay_headers(body, at, serial=SERIAL, signer=None, nonce="dHIkL7oRz0",
                      **changes):
    signed = signing.wechatpay_text(at, nonce, body)
    headers = {
        "Content-Type": "application/json", "Request-ID": "08F78BB5AF0610D3028",
        "Wechatpay-Timestamp": str(at), "Wechatpay-Nonce": nonce,
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature": sign(signer or SIGNERS[serial], signed),
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
    }
    for name, value in changes.items():
        headers["Wechatpay-" + name] = value
    return {name: value for name, value in headers.items()
            if value is not None}


def payment(**changes):
    """A payment, as it is in the resource; names with "__" go deeper."""
    return changed({
        "mchid": MERCHANT, "appid": APP, "out_trade_no": "P_20231115_0001",
        "transaction_id": "4200001234202311150000000001",
        "trade_type": "JSAPI", "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功", "bank_type": "CMB_CREDIT",
        "attach": "", "success_time": "2023-11-15T06:13:10+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": 1990, "payer_total": 1490, "currency": "CNY",
                   "payer_currency": "CNY"},
    }, changes)


def refund(status, **changes):
    document = {
        "mchid": MERCHANT, "out_trade_no": "P_20231115_0001",
        "transaction_id": "4200001234202311150000000001",
        "out_refund_no": "R_20231115_0001",
        "refund_id": "50300001234202311150000000009",
        "refund_status": status, "success_time": "2023-11-15T06:13:10+08:00",
        "user_received_account": "招商银行信用卡0403",
        "amount": {"total": 1990, "refund": 500, "payer_total": 1490,
                   "payer_refund": 400},
    }
    if status != "SUCCESS":
        del document["success_time"]
    return changed(document, changes)


def changed(document, changes):
    for path, value in changes.items():
        holder = document
        *above, name = path.split("__")
        for part in above:
            holder = holder[part]
        if value is None:
            holder.pop(name, None)
        else:
            holder[name] = value
    return document


def wechatpay(event_type, resource, at, **changes):
    """Headers and body of a notice about a resource, given as a document."""
    body = envelope(event_type, compact(resource).encode())
    return wechatpay_headers(body, at, **changes), body


# ---- Alipay ----

ALIPAY_APP = "2021000000000002"
SELLER = "2088000000000002"
TRADE = "2023111522001400000000000001"


def china(at):
    return datetime.fromtimestamp(at, CHINA).strftime("%Y-%m-%d %H:%M:%S")


def trade(at, **changes):
    """A paid trade's notice, unsigned."""
    return changed({
        "notify_time": china(at), "notify_type": "trade_status_sync",
        "notify_id": "2023111500222061320000001", "charset": "utf-8",
        "version": "1.0", "app_id": ALIPAY_APP, "auth_app_id": ALIPAY_APP,
        "seller_id": SELLER, "seller_email": "shop@example.com",
        "trade_no": TRADE, "out_trade_no": "P_20231115_0001",
        "buyer_id": "2088102116773037", "trade_status": "TRADE_SUCCESS",
        "total_amount": "19.90", "receipt_amount": "19.00",
        "buyer_pay_amount": "18.00", "invoice_amount": "18.00",
        "point_amount": "0.00", "subject": "订单",
        "body": "一杯茶 & 两块饼",
        "fund_bill_list":
            '[{"amount":"18.00","fundChannel":"ALIPAYACCOUNT"}]',
        "gmt_create": china(at - 20), "gmt_payment": china(at - 10),
    }, changes)


def refunded(at, total, number, **changes):
    """The notice of a refund; total: of all refunds so far, "5.00"."""
    return trade(at, **{"refund_fee": total, "gmt_refund": china(at) + ".320",
                        "out_biz_no": number, **changes})


def signed_text(fields, charset="utf-8", keep=(), skip=("sign", "sign_type"),
                skip_empty=True):
    return b"&".join(
        name.encode() + b"=" + value.encode(charset)
        for name, value in sorted(fields.items())
        if name in keep or (name not in skip and (value or not skip_empty)))


def form(fields, charset="utf-8"):
    return signing.encode_form({name: value.encode(charset)
                                for name, value in fields.items()})


def alipay(fields, signer="alipay", sign_type="RSA2", charset="utf-8", **how):
    """The signed body; how: see signed_text()."""
    fields = dict(fields)
    if sign_type is not None:
        fields["sign_type"] = sign_type
    fields["sign"] = sign(signer, signed_text(fields, charset, **how))
    return form(fields, charset)
