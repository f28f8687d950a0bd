"""Accounts at simulated gateways, with keys made for the occasion.

The keys lie in the folder that payorder.secret_directory names: shared secrets
and private keys, each in a file of its own.  payorder gets a reference to the
former and the public half of the latter.
"""

import json
import os
import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import signing

# "till" stands for any gateway that signs with HMAC and is not known by name.
TILL = {
    "signature_header": "X-Till-Signature", "encoding": "base64",
    "prefix": "sha256=", "timestamp_header": "X-Till-Time",
    "signed": "timestamp.body", "event": "kind",
    "events": {"paid": "pay", "declined": "pay_failed",
               "ended": "pay_closed", "taken back": "pay_reversed",
               "refunded": "refund", "refund declined": "refund_failed",
               "disputed": "chargeback"},
    "txn_id": "payment.id", "order_no": "payment.number",
    "amount": "payment.amount", "currency": "payment.currency",
    "refund_id": "refund.id", "refund_no": "refund.number",
    "refund_amount": "refund.amount", "dispute_id": "dispute.id",
    "dispute_amount": "dispute.amount", "occurred_at": "at",
    "merchant": "shop",
}

ADD_GATEWAY = """
SELECT payorder.add_gateway(%s, %s, %s, app_scope => %s, settings => %s)
"""
ADD_SECRET = """
SELECT payorder.add_gateway_key(%s, %s, purpose => %s, secret => %s)
"""
ADD_PUBLIC = "SELECT payorder.add_gateway_key(%s, %s, public_key => %s)"


def load(folder, gateway):
    """The accounts that save() kept: by the key in use first, then others."""
    found = []
    for name in sorted(os.listdir(folder)):
        if name.startswith(gateway + ".account"):
            with open(os.path.join(folder, name), encoding="ascii") as file:
                kept = json.load(file)
            found.append(signing.Account(**{
                **kept, "key": kept["key"].encode(),
                "seal": kept["seal"].encode()}))
    return found


class Keyring:
    """call(sql, params) runs one statement and commits.

    prefix: of its files' names, for several that share a server.
    """

    def __init__(self, call, prefix=""):
        self.call = call
        self.prefix = prefix
        call("LOAD 'payorder'")         # whose setting it is
        (self.folder,), = call(
            "SELECT current_setting('payorder.secret_directory')")

    def path(self, name):
        return os.path.join(self.folder, self.prefix + name)

    def keep(self, name, content):
        """Writes a secret's file, which nobody else may read."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL,
                     0o600)
        with open(fd, "wb") as file:
            file.write(content)
        return content

    def private_key(self, name):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self.keep(name, key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))

    def save(self, gateway, *accounts):
        """Keeps a gateway's accounts for the process that is the gateway."""
        for n, account in enumerate(accounts):
            self.keep(f"{gateway}.account{n}", json.dumps({
                **vars(account), "key": account.key.decode(),
                "seal": account.seal.decode()}).encode())

    # ---- accounts: gateway, keys, and what signs for them ----

    def add_gateway(self, gateway, adapter, merchant, app="", **settings):
        self.call(ADD_GATEWAY, (gateway, adapter, merchant, app,
                                json.dumps({"mode": "test", **settings})))

    def add_secret(self, gateway, content, key_id="", purpose="verify"):
        name = f"{gateway}-{purpose}{key_id and '-' + key_id}"
        self.keep(name, content)
        self.call(ADD_SECRET, (gateway, key_id, purpose, "file:" + self.prefix + name))
        return content

    def add_public(self, gateway, key_id, pem):
        self.call(ADD_PUBLIC, (gateway, key_id,
                               signing.public_key(pem).decode()))

    def stripe(self, gateway, merchant="acct_1Demo", **settings):
        self.add_gateway(gateway, "stripe", merchant, **settings)
        return signing.Account(
            "stripe", merchant, key=self.add_secret(
                gateway, b"whsec_" + secrets.token_hex(16).encode()))

    def wechatpay(self, gateway, merchant="1230000109",
                  app="wxd678efh567hg6787", key_id="PUB_KEY_ID_1", **settings):
        self.add_gateway(gateway, "wechatpay", merchant, app, **settings)
        pem = self.private_key(gateway + "-sign")
        self.add_public(gateway, key_id, pem)
        return signing.Account(
            "wechatpay", merchant, app, key=pem, key_id=key_id,
            seal=self.add_secret(gateway, secrets.token_hex(16).encode(),
                                 purpose="decrypt"))

    def alipay(self, gateway, merchant="2088101106499364",
               app="2021000122600001", key_id="", **settings):
        self.add_gateway(gateway, "alipay", merchant, app, **settings)
        pem = self.private_key(gateway + "-sign")
        self.add_public(gateway, key_id, pem)
        return signing.Account("alipay", merchant, app, key=pem, key_id=key_id)

    def adyen(self, gateway, merchant="TestMerchantECOM",
              capture_mode="auto", **settings):
        self.add_gateway(gateway, "adyen", merchant,
                         capture_mode=capture_mode, **settings)
        return signing.Account("adyen", merchant, key=self.add_secret(
            gateway, secrets.token_hex(32).upper().encode()))

    def hmac(self, gateway, merchant="shop-1", words=None, **settings):
        words = TILL if words is None else words
        self.add_gateway(gateway, "hmac", merchant, adapter_settings=words,
                         **settings)
        return signing.Account(
            "hmac", merchant, settings=words,
            key=self.add_secret(gateway, secrets.token_hex(24).encode()))
