// Alipay: the functions that sign are sign and signatureV3 of the package's
// util; AlipaySdk's checkNotifySignV2 verifies.  A notice of a trade is signed
// without sign_type, for which the package has no function of its own: here
// signatureV3 signs the string that checkNotifySignV2 makes.

import { generateKeyPairSync } from 'node:crypto';

const SELLER = '2088000000000001';
const APP = '2021000000000001';
const UNSIGNED = ['sign', 'sign_type'];

// The bytes of "text" in GBK, which Node can only read.
const gbk = new Map();
for (let high = 0xb0; high < 0xf8; high++) {
  for (let low = 0xa1; low < 0xff; low++) {
    const character = new TextDecoder('gbk').decode(Buffer.from([high, low]));
    if (character.length === 1 && character !== '\uFFFD') gbk.set(character, [high, low]);
  }
}
const toGbk = (text) => Buffer.from([...text].flatMap((c) => gbk.get(c) ?? [...Buffer.from(c)]));

const escape = (bytes) => [...bytes].map((byte) => {
  const c = String.fromCharCode(byte);
  if (/[A-Za-z0-9_.-]/.test(c)) return c;
  return c === ' ' ? '+' : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}).join('');

const money = (cents) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;

// "2026-05-01 10:00:00" in China
const china = (seconds) => new Date((seconds + 8 * 3600) * 1000).toISOString()
  .replace('T', ' ').slice(0, 19);

export class Gateway {
  constructor(load, random, folder) {
    const { AlipaySdk } = load('alipay-sdk');
    this.util = load(`${folder}/node_modules/alipay-sdk/dist/commonjs/util.js`);
    this.random = random;
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.privateKey = pair.privateKey.export({ type: 'pkcs1', format: 'pem' });
    const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' });
    const base64 = publicKey.replace(/-----[^-]+-----|\s/g, '');
    this.sdk = new AlipaySdk({
      appId: APP, alipayPublicKey: base64,
      privateKey: other.privateKey.export({ type: 'pkcs1', format: 'pem' }),
    });
    this.gateways = { alipay: { adapter: 'alipay', merchant: SELLER, scope: APP } };
    this.keys = [{ gateway: 'alipay', public_key: base64 }];
  }

  // What checkNotifySignV2 makes of fields, of which some are left out.
  content(fields, without = UNSIGNED) {
    return Object.keys(fields).filter((name) => !without.includes(name)).sort()
      .map((name) => `${name}=${fields[name]}`).join('&');
  }

  form(fields) {
    const { random } = this;
    const names = Object.keys(fields);
    for (let i = names.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [names[i], names[j]] = [names[j], names[i]];
    }
    return Buffer.from(names.map((name) => `${name}=${escape(
      Buffer.isBuffer(fields[name]) ? fields[name] : Buffer.from(fields[name]))}`).join('&'));
  }

  message(fields, at, { without, content = this.content(fields, without), sign } = {}) {
    return this.sent({
      ...fields, sign: sign ?? this.util.signatureV3(content, this.privateKey),
    }, at);
  }

  sent(fields, at) {
    return {
      gateway: 'alipay',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' },
      body: this.form(fields), at, fields,
    };
  }

  // As a user of the package does it: a form is read by URLSearchParams.
  accepts({ body, decoded_again: again }) {
    const fields = Object.fromEntries(new URLSearchParams(body.toString()));
    return again ? this.sdk.checkNotifySign(fields) : this.sdk.checkNotifySignV2(fields);
  }

  // A notice of a trade, and what it says.
  notice(at, status = this.random.pick([
    'TRADE_SUCCESS', 'TRADE_SUCCESS', 'TRADE_FINISHED', 'TRADE_CLOSED', 'WAIT_BUYER_PAY',
  ]), refunds = this.random.chance(0.4)) {
    const { random } = this;
    const amount = random.between(100, 1e9);
    const trade = `2026050122001${random.digits(15)}`;
    const order = random.id(random.between(6, 40));
    const paid = at - random.below(80000);
    const refunded = status !== 'WAIT_BUYER_PAY' && refunds;
    const fields = {
      app_id: APP, auth_app_id: APP, seller_id: SELLER, buyer_id: `2088${random.digits(12)}`,
      charset: 'utf-8', version: '1.0', notify_type: 'trade_status_sync',
      notify_id: random.digits(34), notify_time: china(at - random.below(3600)),
      out_trade_no: order, trade_no: trade, trade_status: status, total_amount: money(amount),
      receipt_amount: money(amount - 1), buyer_pay_amount: money(amount - 2),
      subject: random.text(), gmt_create: china(paid - 30), gmt_payment: china(paid),
      fund_bill_list: JSON.stringify([{ amount: money(amount), fundChannel: 'ALIPAYACCOUNT' }]),
      sign_type: 'RSA2',
    };
    if (random.chance(0.3)) fields.passback_params = random.text();
    if (random.chance(0.2)) fields.body = '';
    const pay = {
      event: 'pay', txn_id: trade, order_no: order, amount, currency: 'CNY', occurred_at: paid,
    };
    if (refunded) {
      const fee = random.between(1, amount);
      const number = random.chance(0.7) ? `R${random.id(12)}` : undefined;
      Object.assign(fields, { refund_fee: money(fee), gmt_refund: `${china(at - 5)}.123` });
      if (number !== undefined) fields.out_biz_no = number;
      return [fields, [pay, {
        event: 'refund', txn_id: `${trade}:${number ?? order}`, order_no: order, amount: fee,
        currency: 'CNY', payment_txn: trade, refund_no: number, amount_is_total: true,
        occurred_at: at - 5 + 0.123,
      }]];
    }
    if (status === 'WAIT_BUYER_PAY') return [fields, [{ verdict: 'ignored', detail: status }]];
    if (status === 'TRADE_CLOSED') {
      fields.gmt_close = china(at - 9);
      return [fields, [{
        event: 'pay_closed', txn_id: order, order_no: order, occurred_at: at - 9,
      }]];
    }
    return [fields, [pay]];
  }

  // A message that is no notice of a trade, signed with its sign_type.
  other(at) {
    const { random } = this;
    const type = random.pick(['servicemarket_order_notify', 'open_app_auth_notify']);
    return [this.sent(this.util.sign('alipay.test', {
      notifyType: type, notifyId: random.digits(34), notifyTime: china(at), content: random.text(),
    }, {
      appId: APP, charset: 'utf-8', version: '1.0', signType: 'RSA2', privateKey: this.privateKey,
    }), at), [{ verdict: 'ignored', detail: type }]];
  }

  good() {
    const { random } = this;
    const at = random.between(1600000000, 1900000000);
    if (random.chance(0.1)) {
      const [message, facts] = this.other(at);
      return { message, facts };
    }
    const [fields, facts] = this.notice(at);
    return { message: this.message(fields, at), facts };
  }

  // One byte of a signed value or of the signature.
  spoilt(message) {
    const { random } = this;
    const fields = { ...message.fields };
    const signature = random.chance(0.4);
    const name = signature ? 'sign' : random.pick(Object.keys(fields)
      .filter((field) => !UNSIGNED.includes(field) && fields[field] !== ''));
    fields[name] = signature ? random.spoil(Buffer.from(fields.sign, 'base64')).toString('base64')
      : random.spoil(Buffer.from(fields[name]));
    return {
      message: this.sent(fields, message.at),
      what: name,
      reasons: signature ? ['signature'] : ['signature', 'body', 'time'],
    };
  }

  // What the package accepts and payorder refuses.
  lax() {
    const { random } = this;
    const at = random.between(1600000000, 1900000000);
    const trade = () => this.notice(at, 'TRADE_SUCCESS', false)[0];
    const fields = trade();
    const good = this.message(fields, at);
    const text = good.body.toString();
    const wire = (body) => ({ ...good, body: Buffer.from(body) });
    const sha1 = this.util.sign('alipay.test', {
      notifyType: 'trade_status_sync', notifyTime: china(at), sellerId: SELLER,
      outTradeNo: 'o1', tradeNo: '2026050122001', tradeStatus: 'TRADE_SUCCESS', totalAmount: '1.00',
    }, { appId: APP, charset: 'utf-8', version: '1.0', signType: 'RSA', privateKey: this.privateKey });
    const inner = { ...fields, subject: 'cup&total_amount=0.01' };
    const encoded = { ...fields, subject: 'a%2Fb', passback_params: 'p' };
    const odd = this.message({ ...fields, subject: '%zz' }, at);
    return {
      'SHA-1, since sign_type says so': [this.sent(sha1, at), 'signature'],
      'sign_type signed in a notice of a trade': [this.message(fields, at, { without: ['sign'] }), 'signature'],
      'a time ten years ahead': [this.message({ ...fields, notify_time: china(at + 10 * 366 * 86400) }, at), 'time'],
      'a time a year ago': [this.message({ ...fields, notify_time: china(at - 366 * 86400) }, at), 'time'],
      'a signature with blanks': [this.message(fields, at, {
        sign: good.fields.sign.replace(/^(.{9})/, '$1 ') }), 'signature'],
      'a signature without padding': [this.message(fields, at, {
        sign: good.fields.sign.replace(/=+$/, '') }), 'signature'],
      'a signature in the URL-safe alphabet': [this.message(fields, at, {
        sign: good.fields.sign.replaceAll('+', '-').replaceAll('/', '_') }), 'signature'],
      'a form key that is there twice': [wire(`total_amount=0.01&${text}`), 'body'],
      'a value that holds another field': [this.message(inner, at), 'body'],
      'a value that is decoded twice': [{
        ...this.message(encoded, at, { content: this.content({ ...encoded, subject: 'a/b' }) }),
        decoded_again: true,
      }, 'signature'],
      'a bad escape': [{
        ...odd, body: Buffer.from(odd.body.toString().replace('%25zz', '%zz')),
      }, 'body'],
      'an empty pair': [wire(`${text}&`), 'body'],
      'a notice for another app': [this.message({ ...fields, app_id: '2021000000000002' }, at), 'merchant'],
      'a notice for another seller': [this.message({ ...fields, seller_id: '2088000000000002' }, at), 'merchant'],
      'an unknown charset': [this.message({ ...fields, charset: 'utf-7' }, at), 'body'],
    };
  }

  // What payorder accepts and the package does not.
  strict() {
    const { random } = this;
    const at = random.between(1600000000, 1900000000);
    const result = {};
    for (const charset of ['GBK', 'gb2312', 'GB18030']) {
      const [fields, facts] = this.notice(at);
      Object.assign(fields, { charset, subject: '咖啡一杯', body: '测试' });
      const bytes = Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, toGbk(v)]));
      result[`a notice in ${charset}`] = [this.message(bytes, at, {
        content: toGbk(this.content(fields)) }), facts];
    }
    const [fields, facts] = this.notice(at);
    const blank = { ...fields, body: '' };
    result['an empty value that is not signed'] = [this.message(blank, at, {
      without: [...UNSIGNED, 'body'] }), facts];
    return result;
  }
}
