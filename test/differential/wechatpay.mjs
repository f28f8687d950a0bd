// WeChat Pay: Rsa.sign over Formatter.response signs, Aes.AesGcm.encrypt seals;
// Rsa.verify and Aes.AesGcm.decrypt are what the package's users call.

import { generateKeyPairSync } from 'node:crypto';
import { DIGITS, LETTERS } from './random.mjs';

const MERCHANT = '1900000001';
const APP = 'wx0123456789abcdef';
const TYPES = {
  'TRANSACTION.SUCCESS': ['pay', 'trade_state', 'SUCCESS'],
  'REFUND.SUCCESS': ['refund', 'refund_status', 'SUCCESS'],
  'REFUND.CLOSED': ['refund_failed', 'refund_status', 'CLOSED'],
  'REFUND.ABNORMAL': ['refund_stuck', 'refund_status', 'ABNORMAL'],
  'TRANSACTION.PAY_BACK': null,
  'PROFITSHARING.SUCCESS': null,
};

export class Gateway {
  constructor(load, random) {
    const { Rsa, Aes, Formatter } = load('wechatpay-axios-plugin');
    Object.assign(this, { Rsa, Aes, Formatter, random });
    const certificate = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const platform = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.signers = {
      '7A3F0000000000000000000000000000000000C1': certificate,
      PUB_KEY_ID_0119000000012025000000000000000001: platform,
    };
    this.sealing = random.id(32);
    this.gateways = { wechatpay: { adapter: 'wechatpay', merchant: MERCHANT, scope: APP } };
    this.keys = [
      ...Object.entries(this.signers).map(([id, { publicKey }]) => ({
        gateway: 'wechatpay', id, public_key: publicKey.export({ type: 'spki', format: 'pem' }),
      })),
      { gateway: 'wechatpay', purpose: 'decrypt', secret: this.sealing },
    ];
  }

  signature(time, nonce, body, serial) {
    return this.Rsa.sign(this.Formatter.response(time, nonce, body),
      this.signers[serial].privateKey);
  }

  message(body, at, { time = `${at}`, nonce = this.random.id(32), signed = body, ...more } = {}) {
    const serial = this.random.pick(Object.keys(this.signers));
    return {
      gateway: 'wechatpay',
      headers: {
        'Wechatpay-Timestamp': time,
        'Wechatpay-Nonce': nonce,
        'Wechatpay-Serial': serial,
        'Wechatpay-Signature': this.signature(time, nonce, signed, serial),
        'Wechatpay-Signature-Type': 'WECHATPAY2-SHA256-RSA2048',
        ...more,
      },
      body,
      at,
    };
  }

  accepts({ headers, body }) {
    if (!this.Rsa.verify(
      this.Formatter.response(headers['Wechatpay-Timestamp'], headers['Wechatpay-Nonce'], body),
      headers['Wechatpay-Signature'], this.signers[headers['Wechatpay-Serial']].publicKey)) {
      return false;
    }
    const { resource } = JSON.parse(body);
    JSON.parse(this.Aes.AesGcm.decrypt(resource.ciphertext, this.sealing, resource.nonce,
      resource.associated_data));
    return true;
  }

  seal(resource, { nonce = this.random.id(12), aad = this.random.pick(['', 'transaction']) } = {}) {
    return {
      algorithm: 'AEAD_AES_256_GCM', original_type: 'transaction', nonce, associated_data: aad,
      ciphertext: this.Aes.AesGcm.encrypt(resource, this.sealing, nonce, aad),
    };
  }

  envelope(type, resource) {
    const { random } = this;
    return {
      id: random.id(36), create_time: '2026-05-01T10:00:01+08:00', resource_type: 'encrypt-resource',
      event_type: type, summary: random.text(), resource,
    };
  }

  // A resource of a type, and what it says.
  subject(type) {
    const { random } = this;
    const [event, status, value] = TYPES[type] ?? [null];
    const amount = random.between(1, 1e9);
    const order = random.id(random.between(6, 32));
    const payment = `42${random.digits(26)}`;
    const resource = {
      mchid: MERCHANT, attach: random.text(), out_trade_no: order, transaction_id: payment,
      anything: random.json(),
    };
    if (event === null) return [resource, null];
    resource[status] = value;
    if (event === 'pay') {
      Object.assign(resource, {
        appid: APP, success_time: '2026-05-01T10:00:00+08:00', payer: { openid: random.id(28) },
        amount: { total: amount, payer_total: amount - 1, currency: 'CNY', payer_currency: 'CNY' },
      });
      return [resource, {
        event, txn_id: payment, order_no: order, amount, currency: 'CNY', occurred_at: 1777600800,
      }];
    }
    Object.assign(resource, {
      out_refund_no: `R${random.digits(16)}`, refund_id: `50${random.digits(27)}`,
      amount: { total: amount * 2, refund: amount, payer_total: amount * 2, payer_refund: amount },
    });
    return [resource, {
      event, txn_id: resource.refund_id, order_no: order, amount, payment_txn: payment,
      refund_no: resource.out_refund_no, occurred_at: 1777600801,
    }];
  }

  good() {
    const { random } = this;
    const type = random.pick(Object.keys(TYPES));
    const [resource, fact] = this.subject(type);
    const body = random.document(this.envelope(type, this.seal(random.document(resource))));
    return {
      message: this.message(body, random.between(1600000000, 1900000000)),
      facts: [fact ?? { verdict: 'ignored', detail: type }],
    };
  }

  // One byte of the time, the nonce, the body or the signature.
  spoilt({ headers, body, ...rest }) {
    const { random } = this;
    const result = { ...rest, headers: { ...headers }, body };
    const where = random.below(4);
    const text = (name, kinds) => {
      result.headers[name] = random.spoil(Buffer.from(headers[name]), kinds).toString();
    };
    if (where === 0) text('Wechatpay-Timestamp', [DIGITS]);
    else if (where === 1) text('Wechatpay-Nonce', [DIGITS, LETTERS]);
    else if (where === 2) result.body = random.spoil(body);
    else {
      result.headers['Wechatpay-Signature'] = random.spoil(
        Buffer.from(headers['Wechatpay-Signature'], 'base64')).toString('base64');
    }
    return {
      message: result,
      what: ['time', 'nonce', 'body', 'signature'][where],
      reasons: where === 0 ? ['time', 'signature'] : ['signature'],
    };
  }

  // What the package accepts and payorder refuses.
  lax() {
    const { random } = this;
    const at = random.between(1600000000, 1900000000);
    const resource = random.document(this.subject('TRANSACTION.SUCCESS')[0]);
    const body = (sealed = this.seal(resource)) =>
      random.document(this.envelope('TRANSACTION.SUCCESS', sealed));
    const signed = (more) => this.message(body(), at, more);
    const written = (change) => {
      const message = signed();
      message.headers['Wechatpay-Signature'] = change(message.headers['Wechatpay-Signature']);
      return message;
    };
    const bad = Buffer.from(body().toString().replace('"summary"', '"s\uFFFD"'));
    const short = this.seal(Buffer.from('{"a":1} '));
    short.ciphertext = Buffer.from(short.ciphertext, 'base64').subarray(0, 12).toString('base64');
    const twice = Buffer.from(body().toString().replace('{', '{"event_type":"REFUND.SUCCESS",'));
    const inside = Buffer.from(resource.toString().replace('{', '{"out_trade_no":"other",'));
    const other = JSON.parse(resource);
    return {
      'a time ten years ahead': [signed({ time: `${at + 10 * 366 * 86400}` }), 'time'],
      'a time an hour ago': [signed({ time: `${at - 3600}` }), 'time'],
      'a signature with blanks': [written((s) => `${s.slice(0, 9)} ${s.slice(9)}`), 'header'],
      'a signature with line breaks': [written((s) => `${s}\n`), 'header'],
      'a signature in the URL-safe alphabet': [written((s) => s.replaceAll('+', '-').replaceAll('/', '_')), 'header'],
      'a signature without padding': [written((s) => s.replace(/=+$/, '')), 'header'],
      'a line break in the nonce': [signed({ nonce: 'abc\ndef' }), 'header'],
      'another kind of signature announced': [signed({ 'Wechatpay-Signature-Type': 'WECHATPAY2-SM2-WITH-SM3' }), 'header'],
      'bytes that are not UTF-8': [this.message(
        Buffer.from(bad.toString('latin1').replace('\xef\xbf\xbd', '\xff'), 'latin1'), at,
        { signed: bad }), 'signature'],
      'a JSON key that is there twice': [this.message(twice, at), 'body'],
      'a JSON key that is there twice, sealed': [this.message(body(this.seal(inside)), at), 'body'],
      'a tag of 4 bytes': [this.message(body(short), at), 'body'],
      'a nonce of 16 bytes': [this.message(body(this.seal(resource, { nonce: random.id(16) })), at), 'body'],
      'associated data of 16 bytes': [this.message(body(this.seal(resource, { aad: random.id(16) })), at), 'body'],
      'another algorithm named': [this.message(body({ ...this.seal(resource), algorithm: 'AEAD_SM4_GCM' }), at), 'body'],
      'a payment of another merchant': [this.message(body(this.seal(Buffer.from(
        JSON.stringify({ ...other, mchid: '1900000002' })))), at), 'merchant'],
      'a payment of another app': [this.message(body(this.seal(Buffer.from(
        JSON.stringify({ ...other, appid: 'wxother' })))), at), 'merchant'],
    };
  }
}
