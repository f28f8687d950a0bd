"""Signs messages as the gateways do, so that payorder has real ones to verify.

sign(account, document) makes of what a gateway says the HTTP message in which
it says it.  The document by adapter:

    stripe      the event, an object
    wechatpay   {"envelope": ..., "resource": ...}, the resource in clear
    alipay      the form's fields, texts by name
    adyen       {"live": ..., "notificationItems": [...]}
    hmac        the body, an object

The account's own things (merchant, app, mode) are filled in, over what the
document says.  Written from the gateways' public documents; shares nothing
with src/.

Keys are bytes: a shared secret as it is (stripe, hmac; adyen's as its hex
digits), or a private key as PEM (wechatpay, alipay).  What is signed is in the
functions from hmac_sha256() to adyen_item(), which can be used alone.
"""

import base64
import functools
import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass, field, replace
from urllib.parse import quote_plus

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from templates import set_at

CHINA = 8 * 3600


@dataclass(frozen=True)
class Account:
    """One merchant's account, as the gateway knows it."""

    adapter: str
    merchant_id: str
    app_id: str = ""
    live: bool = False
    key: bytes = field(default=b"", repr=False)
    key_id: str = ""            # serial of the key, where the gateway names it
    seal: bytes = field(default=b"", repr=False)    # WeChat Pay's APIv3 key
    settings: dict = field(default_factory=dict)    # of the adapter hmac


@dataclass(frozen=True)
class Message:
    """An HTTP message: {name: value or [values]}, raw bytes, the URL's query."""

    headers: dict
    body: bytes
    query: str | None = None


# ---- what is signed ----

def hmac_sha256(key, *parts):
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(part)
    return mac.digest()


@functools.lru_cache(maxsize=16)
def private_key(pem):
    return serialization.load_pem_private_key(pem, None)


def rsa_sha256(pem, text):
    """PKCS #1 v1.5, in base64."""
    return base64.b64encode(private_key(pem).sign(
        text, padding.PKCS1v15(), hashes.SHA256())).decode()


def public_key(pem):
    """The public half of a private key, as PEM."""
    return private_key(pem).public_key().public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo)


def aes_gcm_seal(key, nonce, associated_data, plain):
    """Ciphertext and tag, in base64."""
    return base64.b64encode(
        AESGCM(key).encrypt(nonce, plain, associated_data)).decode()


def stripe_header(secrets, body, at, scheme="v1"):
    """Stripe-Signature, with one signature for each secret."""
    stamp = str(int(at))
    return ",".join([f"t={stamp}"] + [
        f"{scheme}={hmac_sha256(s, stamp.encode(), b'.', body).hex()}"
        for s in secrets])


def wechatpay_text(stamp, nonce, body):
    return f"{stamp}\n{nonce}\n".encode() + body + b"\n"


def alipay_text(fields):
    """What Alipay signs of a form; names are texts, values bytes."""
    return b"&".join(name.encode() + b"=" + value
                     for name, value in sorted(fields.items())
                     if value and name not in ("sign", "sign_type"))


ADYEN_FIELDS = ("pspReference", "originalReference", "merchantAccountCode",
                "merchantReference", "amount.value", "amount.currency",
                "eventCode", "success")


def adyen_text(item):
    def read(path):
        thing = item
        for name in path.split("."):
            thing = thing.get(name)
            if thing is None:
                return ""
        return str(thing)

    return ":".join(map(read, ADYEN_FIELDS)).encode()


def adyen_item(item, hex_key):
    """The item with its signature."""
    mac = hmac_sha256(bytes.fromhex(hex_key.decode()), adyen_text(item))
    return {**item, "additionalData": {
        **item.get("additionalData", {}),
        "hmacSignature": base64.b64encode(mac).decode()}}


# ---- messages ----

def dump(document):
    return json.dumps(document, ensure_ascii=False,
                      separators=(",", ":")).encode()


def json_headers(headers):
    return {"Content-Type": "application/json; charset=utf-8", **headers}


def sign_stripe(account, event, at):
    body = dump({**event, "livemode": account.live})
    return Message(json_headers({"Stripe-Signature": stripe_header(
        [account.key], body, at)}), body)


def seal_resource(account, envelope, resource):
    """WeChat Pay's envelope with the resource sealed in it."""
    nonce = base64.b32encode(os.urandom(10)).decode()[:12]
    sealed = {"algorithm": "AEAD_AES_256_GCM",
              "associated_data": "transaction",
              **envelope.get("resource", {}), "nonce": nonce}
    sealed["ciphertext"] = aes_gcm_seal(
        account.seal, nonce.encode(), sealed["associated_data"].encode(),
        dump(resource))
    return {**envelope, "resource": sealed}


def sign_wechatpay_body(account, body, at):
    stamp, nonce = str(int(at)), base64.b32encode(os.urandom(20)).decode()
    return Message(json_headers({
        "Wechatpay-Timestamp": stamp, "Wechatpay-Nonce": nonce,
        "Wechatpay-Serial": account.key_id,
        "Wechatpay-Signature": rsa_sha256(
            account.key, wechatpay_text(stamp, nonce, body)),
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        "Request-ID": nonce}), body)


def sign_wechatpay(account, document, at):
    resource = {**document["resource"], "mchid": account.merchant_id}
    if "appid" in resource:
        resource["appid"] = account.app_id
    return sign_wechatpay_body(account, dump(seal_resource(
        account, document["envelope"], resource)), at)


def china_time(at):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at + CHINA))


def encode_form(fields):
    """A form's body; names are texts, values bytes."""
    return "&".join(f"{name}={quote_plus(value)}"
                    for name, value in fields.items()).encode()


def sign_alipay(account, fields, at):
    fields = {**fields, "app_id": account.app_id,
              "seller_id": account.merchant_id, "sign_type": "RSA2",
              "notify_time": china_time(at)}
    fields.setdefault("charset", "utf-8")
    fields.pop("alipay_cert_sn", None)
    if account.key_id:
        fields["alipay_cert_sn"] = account.key_id
    raw = {name: str(value).encode(fields["charset"])
           for name, value in fields.items()}
    raw["sign"] = rsa_sha256(account.key, alipay_text(raw)).encode()
    return Message({"Content-Type": "application/x-www-form-urlencoded; "
                    f"charset={fields['charset']}"}, encode_form(raw))


def sign_adyen(account, document, at):
    items = [{"NotificationRequestItem": adyen_item(
        {**item["NotificationRequestItem"],
         "merchantAccountCode": account.merchant_id}, account.key)}
        for item in document["notificationItems"]]
    return Message(json_headers({}), dump({
        **document, "live": "true" if account.live else "false",
        "notificationItems": items}))


SIGNED_BETWEEN = {"timestamp.body": b".", "timestamp:body": b":",
                  "timestamp\nbody": b"\n", "timestampbody": b""}


def sign_hmac_body(account, body, at):
    settings = account.settings
    headers = json_headers({})
    parts = [body]
    if settings.get("timestamp_header"):
        headers[settings["timestamp_header"]] = str(int(at))
        parts = [str(int(at)).encode(), SIGNED_BETWEEN[settings["signed"]],
                 body]
    mac = hmac_sha256(account.key, *parts)
    headers[settings["signature_header"]] = settings.get("prefix", "") + (
        mac.hex() if settings["encoding"] == "hex"
        else base64.b64encode(mac).decode())
    return Message(headers, body)


def sign_hmac(account, document, at):
    document = json.loads(json.dumps(document))
    for setting, value in (("merchant", account.merchant_id),
                           ("app", account.app_id), ("live", account.live)):
        if setting in account.settings:
            set_at(document, account.settings[setting], value)
    return sign_hmac_body(account, dump(document), at)


SIGNERS = {"stripe": sign_stripe, "wechatpay": sign_wechatpay,
           "alipay": sign_alipay, "adyen": sign_adyen, "hmac": sign_hmac}


def sign(account, document, at=None):
    """The signed message that says a document, sent at an instant."""
    return SIGNERS[account.adapter](account, document,
                                    time.time() if at is None else at)


# ---- messages that must be refused ----

def flip(text, alphabet):
    """Another text of the same form: its first character is another one."""
    return alphabet[(alphabet.index(text[0]) + 1) % len(alphabet)] + text[1:]


HEX = "0123456789abcdef"
BASE64 = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
          "0123456789+/")


def with_header(message, name, change):
    return replace(message, headers={**message.headers,
                                     name: change(message.headers[name])})


def wrong_signature(account, document, at):
    """A signature of the right form that is not the right one."""
    message = sign(account, document, at)
    if account.adapter == "stripe":
        return with_header(message, "Stripe-Signature",
                           lambda v: v[:-64] + flip(v[-64:], HEX))
    if account.adapter == "wechatpay":
        return with_header(message, "Wechatpay-Signature",
                           lambda v: flip(v, BASE64))
    if account.adapter == "hmac":
        head = len(account.settings.get("prefix", ""))
        letters = HEX if account.settings["encoding"] == "hex" else BASE64
        return with_header(message, account.settings["signature_header"],
                           lambda v: v[:head] + flip(v[head:], letters))
    name = b'"hmacSignature":"' if account.adapter == "adyen" else b"&sign="
    head, found, tail = message.body.partition(name)
    if tail.startswith(b"%"):
        return replace(message, body=head + found + b"A" + tail[3:])
    return replace(message, body=head + found +
                   flip(tail.decode(), BASE64).encode())


def altered(account, document, at):
    """What some proxies and frameworks do to a body that is signed."""
    message = sign(account, document, at)
    if account.adapter == "alipay":         # one more parameter
        return replace(message, body=message.body + b"&page=1")
    if account.adapter == "adyen":          # which signs the values alone
        return replace(message, body=message.body.replace(
            b'"value":', b'"value":1'))
    return replace(message, body=json.dumps(
        json.loads(message.body)).encode())


def replayed(account, document, at):
    """Right, but of some days ago."""
    return sign(account, document, at - 3 * 86400)


def wrong_merchant(account, document, at):
    """Signed for somebody else's account, or for the other mode."""
    if account.adapter in ("stripe",):
        return sign(replace(account, live=not account.live), document, at)
    return sign(replace(account, merchant_id=account.merchant_id + "0"),
                document, at)


def probe(account, document, at):
    """WeChat Pay's own test of whether signatures are looked at."""
    return with_header(sign(account, document, at), "Wechatpay-Signature",
                       lambda v: "WECHATPAY/SIGNTEST/" + v)


def unknown_key(account, document, at):
    return sign(replace(account, key_id=account.key_id + "0"), document, at)


def header_twice(account, document, at):
    """A signature header that comes twice."""
    message = sign(account, document, at)
    name = {"stripe": "Stripe-Signature", "wechatpay": "Wechatpay-Signature",
            "hmac": account.settings.get("signature_header")}[account.adapter]
    return with_header(message, name, lambda v: [v, v])


# fault: (how it is made, the reason with which it must be rejected, for whom)
FAULTS = {
    "wrong_signature": (wrong_signature, "signature", tuple(SIGNERS)),
    "altered": (altered, "signature", tuple(SIGNERS)),
    "replayed": (replayed, "time", ("stripe", "wechatpay", "alipay", "hmac")),
    "wrong_merchant": (wrong_merchant, "merchant", tuple(SIGNERS)),
    "probe": (probe, "probe", ("wechatpay",)),
    "unknown_key": (unknown_key, "key_unknown", ("wechatpay", "alipay")),
    "header_twice": (header_twice, "header", ("stripe", "wechatpay", "hmac")),
}


def faults(account):
    """Those that a message of this account can have."""
    return [name for name, (_, _, adapters) in FAULTS.items()
            if account.adapter in adapters
            and (name != "unknown_key" or account.key_id)
            and (name != "replayed" or account.adapter != "hmac"
                 or account.settings.get("timestamp_header"))
            and (name != "wrong_merchant" or account.adapter != "hmac"
                 or account.settings.get("merchant"))]


def spoil(account, document, fault, at=None):
    """A message that payorder must reject."""
    return FAULTS[fault][0](account, document,
                            time.time() if at is None else at)


def reason(fault):
    return FAULTS[fault][1]
