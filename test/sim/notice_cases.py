#!/usr/bin/python3
"""The notices that test/sql/gateway_wechatpay.sql and gateway_alipay.sql read.

    test/sim/notice_cases.py wechatpay >test/sql/include/wechatpay.psql
    test/sim/notice_cases.py alipay >test/sql/include/alipay.psql

Each is a row of a temporary table: name, headers, body.  What a test can make
of a row by changing it, it changes itself: here is what must be signed anew.
"""

import base64
import json
import sys

import notices as n

AT = 1700000000                 # 2023-11-14 22:13:20 in UTC

# ---- WeChat Pay ----


def about(kind, plain, **changes):
    """A notice with a resource, given as document or as text."""
    if not isinstance(plain, bytes):
        plain = n.compact(plain).encode()
    return n.envelope(kind, plain, **changes)


def paid(**changes):
    return about("TRANSACTION.SUCCESS", n.payment(**changes))


def twice(resource, member, again):
    """The same text with a member that is there twice."""
    text = n.compact(resource)
    assert member in text
    return text.replace(member, again + "," + member).encode()


def blanks(text):
    return text[:40] + " " + text[40:]


def wechatpay_bodies():
    pay = n.compact(n.payment()).encode()
    sealed = n.seal(pay)
    success = "TRANSACTION.SUCCESS"
    yield "pay", paid()
    yield "pay, no associated data", about(success, pay, aad=None)
    yield "pay, empty associated data", about(success, pay, aad="")
    yield "pay, older APIv3 key", about(success, pay, key=n.OLD_API_KEY)
    yield "pay, JPY", paid(amount__currency="JPY")
    yield "pay, no currency", paid(amount__currency=None)
    yield "pay, amount a string", paid(amount__total="1990")
    yield "pay, amount 100.5", paid(amount__total=100.5)
    yield "pay, amount 1e2", about(
        success, n.compact(n.payment()).replace("1990", "1e2").encode())
    yield "pay, amount missing", paid(amount__total=None)
    yield "pay, amount 2^63", paid(amount__total=2 ** 63)
    yield "pay, amount twice", about(
        success, twice(n.payment(), '"total":1990', '"total":1'))
    yield "pay, odd attach", paid(attach="\" \\ \u2028 😀 </script>")
    yield "refund", about("REFUND.SUCCESS", n.refund("SUCCESS"))
    yield "refund closed", about("REFUND.CLOSED", n.refund("CLOSED"))
    yield "refund abnormal", about("REFUND.ABNORMAL", n.refund("ABNORMAL"))
    yield "refund processing", about("REFUND.SUCCESS", n.refund("PROCESSING"))
    yield "refund of another status", about("REFUND.SUCCESS", n.refund("CLOSED"))
    yield "pay that is closed", paid(trade_state="CLOSED")
    yield "pay without state", paid(trade_state=None)
    yield "pay back", about("TRANSACTION.PAY_BACK", {
        "mchid": n.MERCHANT, "appid": n.APP, "out_order_no": "1"})
    yield "pay failed", about("TRANSACTION.FAIL", n.payment(trade_state="PAYERROR"))
    yield "profit sharing", about("PROFITSHARING", {
        "mchid": n.MERCHANT, "order_id": "3008450740201411110007820472"})
    yield "complaint", about("COMPLAINT.CREATE", {
        "complaint_id": "200201820200101080076610000"})
    yield "profit sharing of another", about("PROFITSHARING", {
        "mchid": "1900000110"})
    yield "another merchant", paid(mchid="1900000110")
    yield "another app", paid(appid="wx0000000000000000")
    yield "merchant a number", paid(mchid=1900000109)
    yield "no merchant", paid(mchid=None)
    yield "no app", paid(appid=None)
    yield "another merchant's refund", about(
        "REFUND.SUCCESS", n.refund("SUCCESS", mchid="1900000110"))
    yield "partner's pay", about(success, {
        "sp_mchid": n.MERCHANT, "sp_appid": n.APP, "sub_mchid": "1900000110",
        "transaction_id": "4200001234202311150000000001"})
    yield "no transaction_id", paid(transaction_id=None)
    yield "no out_trade_no", paid(out_trade_no=None)
    yield "transaction_id a number", paid(transaction_id=4200001234)
    yield "transaction_id of 128", paid(transaction_id="4" * 128)
    yield "transaction_id of 129", paid(transaction_id="4" * 129)
    yield "transaction_id with a tab", paid(transaction_id="42\t")
    yield "no refund_id", about("REFUND.SUCCESS",
                                n.refund("SUCCESS", refund_id=None))
    yield "envelope id missing", about(success, pay, without=("id",))
    yield "envelope id a number", about(success, pay, id=1)
    yield "event_type missing", about(success, pay, without=("event_type",))
    yield "resource missing", about(success, pay, without=("resource",))
    yield "resource a text", about(success, pay, resource="x")
    yield "algorithm of another", about(success, pay,
                                        algorithm="AEAD_AES_128_GCM")
    yield "algorithm missing", about(success, pay, without=("algorithm",))
    yield "nonce of 11", about(success, pay, nonce="uluk4a9R25R")
    yield "nonce of 13", about(success, pay, nonce="uluk4a9R25RWx")
    yield "nonce missing", about(success, pay, without=("nonce",))
    yield "associated data of 15", about(success, pay, aad="a" * 15)
    yield "associated data of 16", about(success, pay, aad="a" * 16)
    yield "associated data changed", about(success, pay, associated_data="refund")
    yield "associated data a number", about(success, pay, associated_data=1)
    yield "associated data not ASCII", about(success, pay, aad="交易")
    yield "ciphertext missing", about(success, pay, without=("ciphertext",))
    yield "ciphertext with a blank", about(success, pay, ciphertext=blanks(sealed))
    yield "ciphertext no base64", about(success, pay, ciphertext="%%%%")
    yield "ciphertext without padding", about(
        success, pay + b" ", ciphertext=n.seal(pay + b" ").rstrip("="))
    yield "ciphertext of 15 bytes", about(
        success, pay, ciphertext=base64.b64encode(bytes(15)).decode())
    yield "ciphertext of a tag alone", about(success, b"")
    yield "ciphertext cut", about(success, pay, ciphertext=sealed[:-4])
    yield "ciphertext of another key", about(success, pay, key="k" * 32)
    yield "W2", about(success, b"message", aad="associatedData",
                      ciphertext="ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=")
    yield "W2, another associated data", about(
        success, b"message", aad="associatedData",
        associated_data="bad-associatedData",
        ciphertext="ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=")
    yield "W2, another nonce", about(
        success, b"message", nonce="bad-4a9R25RW", aad="associatedData",
        ciphertext="ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=")
    yield "W2, 128 zero bytes", about(
        success, b"message", aad="associatedData",
        ciphertext=base64.b64encode(bytes(128)).decode())
    yield "resource no object", about(success, b"[1]")
    yield "resource with a NUL", about(success, pay + b"\0")
    yield "resource with \\u0000", about(
        success, pay.replace(b"CMB_CREDIT", b"\\u0000"))
    yield "resource no UTF-8", about(success, pay.replace(b"CMB", b"\xff\xfe"))
    yield "resource and more", about(success, pay + b"{}")
    yield "body no JSON", b"id=EV-2018022511223320873"
    yield "body empty", b""
    yield "body an array", b"[" + paid() + b"]"
    yield "body cut", paid()[:-1]
    yield "body with a key twice", paid().replace(
        b'"event_type":', b'"event_type":"REFUND.SUCCESS","event_type":')


def wechatpay_cases():
    for name, body in wechatpay_bodies():
        yield name, n.wechatpay_headers(body, AT), body
    body = paid()
    yield ("pay, public key",
           n.wechatpay_headers(body, AT, serial=n.PUBLIC_ID), body)
    yield ("signed by another key",
           n.wechatpay_headers(body, AT, signer="other"), body)
    yield ("signed by the public key",
           n.wechatpay_headers(body, AT, signer="wechatpay_public"), body)
    yield ("unknown serial", n.wechatpay_headers(
        body, AT, serial="NEW", signer="other"), body)
    yield ("nonce with a line break", n.wechatpay_headers(
        body, AT, nonce="dHIkL7\noRz0"), body)
    yield ("nonce of 128", n.wechatpay_headers(body, AT, nonce="n" * 128), body)
    yield ("nonce of 129", n.wechatpay_headers(body, AT, nonce="n" * 129), body)
    yield ("an hour later", n.wechatpay_headers(body, AT + 3600), body)


# ---- Alipay ----


def notice(how=None, **changes):
    return n.alipay(n.trade(AT, **changes), **(how or {}))


def back(total="5.00", number="R_20231115_0001", **changes):
    return n.alipay(n.refunded(AT, total, number, **changes))


def service_message(**changes):
    return n.changed({
        "app_id": n.ALIPAY_APP, "charset": "utf-8", "version": "1.1",
        "msg_method": "alipay.fund.trans.order.changed",
        "notify_id": "2023111500262132026000010", "utc_timestamp": "1700000000000",
        "biz_content": '{"status":"SUCCESS"}'}, changes)


def alipay_bodies():
    yield "pay", notice()
    yield "pay, TRADE_FINISHED", notice(trade_status="TRADE_FINISHED")
    yield "pay, no sign_type", notice(how={"sign_type": None})
    yield "pay, empty field, not signed", notice(passback_params="")
    yield "pay, empty field, signed", notice(
        passback_params="", how={"skip_empty": False})
    yield "pay, sign_type signed", notice(how={"keep": ("sign_type",)})
    yield "pay, certificate", notice(alipay_cert_sn="c0ffee")
    yield "pay, certificate not signed", notice(
        alipay_cert_sn="c0ffee",
        how={"skip": ("sign", "sign_type", "alipay_cert_sn")})
    yield "pay, certificate unknown", notice(alipay_cert_sn="beef")
    yield "pay, GBK", gbk("GBK", "gbk")
    yield "pay, GB2312", gbk("GB2312", "gb2312")
    yield "pay, GB18030", gbk("GB18030", "gb18030", subject="订单 😀")
    yield "pay, gbk that calls itself utf-8", gbk("utf-8", "gbk")
    yield "pay, utf-8 that calls itself GBK", gbk("GBK", "utf-8", subject="订单一")
    yield "pay, Big5", gbk("Big5", "big5", subject="x", body="y")
    yield "pay, no charset", notice(charset=None)
    yield "pay, fund_bill_list escaped", notice(
        fund_bill_list="[{&quot;amount&quot;:&quot;18.00&quot;}]")
    yield "pay, 19.9", notice(total_amount="19.9")
    yield "pay, 19", notice(total_amount="19")
    yield "pay, 19.905", notice(total_amount="19.905")
    yield "pay, 1,900.00", notice(total_amount="1,900.00")
    yield "pay, 1e2", notice(total_amount="1e2")
    yield "pay, 0.00", notice(total_amount="0.00")
    yield "pay, -19.90", notice(total_amount="-19.90")
    yield "pay, too large", notice(total_amount="92233720368547758.08")
    yield "pay, no total_amount", notice(total_amount=None)
    yield "pay, no gmt_payment", notice(gmt_payment=None)
    yield "refund, partial", back()
    yield "refund, full", back("19.90", trade_status="TRADE_CLOSED")
    yield "refund, after the end", back(trade_status="TRADE_FINISHED")
    yield "refund, no out_biz_no", back(out_biz_no=None)
    yield "refund, no gmt_refund", back(gmt_refund=None)
    yield "refund, no refund_fee", back(refund_fee=None)
    yield "refund, refund_fee no number", back("five")
    yield "refund, only out_biz_no", notice(out_biz_no="R_20231115_0001")
    yield "refund, longest number", back(number="R" * 99)
    yield "refund, number too long", back(number="R" * 100)
    yield "refund, trade_no with a colon", back(trade_no="2023:1")
    yield "closed", notice(trade_status="TRADE_CLOSED", gmt_payment=None,
                           gmt_close=n.china(AT - 1))
    yield "closed, refund of nothing", notice(trade_status="TRADE_CLOSED",
                                              refund_fee="0.00")
    yield "closed, only out_biz_no", notice(trade_status="TRADE_CLOSED",
                                            out_biz_no="P_20231115_0001")
    yield "waiting", notice(trade_status="WAIT_BUYER_PAY", gmt_payment=None)
    yield "waiting, refund", back(trade_status="WAIT_BUYER_PAY")
    yield "no trade_status", notice(trade_status=None)
    yield "no notify_type", notice(notify_type=None)
    yield "another notify_type", notice(notify_type="dut_user_sign")
    yield "deposit back", n.alipay(service_message(
        msg_method="alipay.fund.trans.depositback.completed"))
    yield "service message, sign_type signed", n.alipay(
        service_message(), keep=("sign_type",))
    yield "service message, both", n.alipay(
        service_message(empty=""), keep=("sign_type", "empty"))
    yield "service message of another", n.alipay(
        service_message(app_id="2021000000000009"))
    yield "another app", notice(app_id="2021000000000009")
    yield "another seller", notice(seller_id="2088000000000009")
    yield "no app", notice(app_id=None)
    yield "no seller", notice(seller_id=None)
    yield "no seller, refund", back(seller_id=None)
    yield "no trade_no", notice(trade_no=None)
    yield "no out_trade_no", notice(out_trade_no=None)
    yield "no notify_time", notice(notify_time=None)
    yield "notify_time without form", notice(notify_time="1700000000")
    yield "notify_time with a zone", notice(notify_time="2023-11-15 06:13:20-11")
    yield "notify_time no date", notice(notify_time="2023-13-15 06:13:20")
    yield "an SHA-1 name", notice(how={"sign_type": "RSA"})
    yield "signed by another key", notice(how={"signer": "other"})
    yield "hidden fields", hidden()
    yield "hidden harmless field", notice(body="tea&cake=yes&milk=no")
    yield "name with a blank", n.alipay({**n.trade(AT), "a b": "c"})


def gbk(name, encoding, subject="订单", body="一杯茶 & 两块饼"):
    return n.alipay(n.trade(AT, charset=name, subject=subject, body=body),
                    charset=encoding)


def hidden():
    """The bytes that were signed are those of another notice, in which the
    buyer's text is: body=x&charset=...&trade_status=TRADE_SUCCESS&z=..."""
    genuine = n.trade(AT, trade_status="WAIT_BUYER_PAY",
                      body="x&charset=utf-8&notify_time=" + n.china(AT) +
                      "&notify_type=trade_status_sync&out_trade_no=P_OTHER"
                      "&seller_id=" + n.SELLER + "&total_amount=9999.00"
                      "&trade_no=" + n.TRADE + "&trade_status=TRADE_SUCCESS&z=")
    text = n.signed_text(genuine).decode()
    at = text.index("&z=")
    fields = dict(part.split("=", 1) for part in text[:at].split("&"))
    fields["z"] = text[at + 3:]
    assert n.signed_text(fields).decode() == text
    return n.alipay(fields)


def alipay_cases():
    headers = {"Content-Type":
               "application/x-www-form-urlencoded; charset=utf-8"}
    for name, body in alipay_bodies():
        yield name, headers, body


# ---- as SQL ----

SETS = {
    "wechatpay": (wechatpay_cases, (
        ("platform_key", "wechatpay_platform"),
        ("public_key", "wechatpay_public"), ("other_key", "other"))),
    "alipay": (alipay_cases, (("alipay_key", "alipay"),
                              ("other_key", "other"))),
}


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def body_literal(body):
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "'\\x" + body.hex() + "'"
    return "'" + "".join(
        "\\\\" if c == "\\" else "''" if c == "'" else c if " " <= c <= "~"
        else "".join("\\%03o" % b for b in c.encode()) for c in text) + "'"


def write(name, out):
    cases, keys = SETS[name]
    out.write(f"-- Written by test/sim/notice_cases.py {name}: what is said of"
              " it there\n-- is not said again here.\n\\set ECHO none\n")
    for variable, key in keys:
        out.write(f"\\set {variable} {n.public_key(key)}\n")
    out.write("CREATE TEMP TABLE notices (name text PRIMARY KEY,"
              " headers jsonb, body bytea);\n")
    for case, headers, body in cases():
        out.write("INSERT INTO notices VALUES (" + literal(case) + ", " +
                  literal(json.dumps(headers)) + ",\n    " +
                  body_literal(body) + ");\n")


if __name__ == "__main__":
    write(sys.argv[1], sys.stdout)
