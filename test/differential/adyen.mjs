// Adyen: hmacValidator.calculateHmac signs an item, validateHMAC verifies it.

import { DIGITS } from './random.mjs';

const ACCOUNT = 'TestMerchant';
const SIGNED = ['pspReference', 'originalReference', 'merchantReference', 'merchantAccountCode',
  'eventCode', 'success', 'value', 'currency'];

export class Gateway {
  constructor(load, random) {
    this.random = random;
    this.validator = new (load('@adyen/api-library').hmacValidator)();
    this.key = random.bytes(32).toString('hex').toUpperCase();
    this.gateways = {
      'adyen-auto': { adapter: 'adyen', merchant: ACCOUNT, settings: { capture_mode: 'auto' } },
      'adyen-manual': {
        adapter: 'adyen', merchant: ACCOUNT, scope: 'manual', settings: { capture_mode: 'manual' },
      },
    };
    this.keys = Object.keys(this.gateways).map((gateway) => ({ gateway, secret: this.key }));
  }

  sign(item) {
    item.additionalData = {
      ...item.additionalData, hmacSignature: this.validator.calculateHmac(item, this.key),
    };
    return item;
  }

  body(items, live = 'true') {
    return this.random.document({
      live, notificationItems: items.map((item) => ({ NotificationRequestItem: item })),
    });
  }

  message(items, gateway = 'adyen-auto', body = this.body(items)) {
    return { gateway, headers: { 'Content-Type': 'application/json' }, body, at: 1777600800, items };
  }

  accepts({ body }) {
    return JSON.parse(body).notificationItems.every((item) =>
      this.validator.validateHMAC(item.NotificationRequestItem, this.key));
  }

  // An item, and what it says.
  item(manual = this.random.chance(0.5)) {
    const { random } = this;
    const code = random.pick(['AUTHORISATION', 'AUTHORISATION', 'CAPTURE', 'CANCELLATION', 'REFUND',
      'REFUND_FAILED', 'CHARGEBACK', 'SECOND_CHARGEBACK', 'CHARGEBACK_REVERSED',
      'REPORT_AVAILABLE', 'NOTIFICATION_OF_CHARGEBACK']);
    const failed = ['AUTHORISATION', 'REFUND'].includes(code) && random.chance(0.3);
    const money = { amount: random.between(1, 1e9), currency: random.pick(['EUR', 'USD', 'JPY', 'CNY']) };
    const psp = random.of('ABCDEFGHJKLMNPQRSTUVWXYZ0123456789', 16);
    const original = code === 'AUTHORISATION' || code === 'REPORT_AVAILABLE' ? undefined
      : random.of('ABCDEFGHJKLMNPQRSTUVWXYZ0123456789', 16);
    const reference = random.pick([random.id(12), `Bestellung-${random.id(5)} ü`, '订单-7']);
    const item = this.sign({
      additionalData: { cardSummary: random.digits(4), note: random.text() },
      amount: { currency: money.currency, value: money.amount },
      eventCode: code, eventDate: '2026-05-01T04:00:00+02:00', merchantAccountCode: ACCOUNT,
      merchantReference: reference, originalReference: original, paymentMethod: 'visa',
      pspReference: psp, reason: random.text(), success: failed ? 'false' : 'true',
    });
    const facts = {
      AUTHORISATION: [{
        event: manual ? 'authorised' : 'pay', txn_id: psp, order_no: reference,
        ...(manual ? {} : money),
      }],
      CAPTURE: manual ? [{
        event: 'pay', txn_id: original, order_no: reference, payment_txn: original, ...money,
      }] : null,
      CANCELLATION: [{
        event: 'pay_closed', txn_id: original, order_no: reference, payment_txn: original,
      }],
      REFUND: [{
        event: failed ? 'refund_failed' : 'refund', txn_id: psp, payment_txn: original,
        refund_no: reference, ...money,
      }],
      REFUND_FAILED: [{
        event: 'refund_failed', txn_id: psp, payment_txn: original, refund_no: reference, ...money,
      }],
      CHARGEBACK: [{ event: 'chargeback', txn_id: psp, payment_txn: original, ...money }],
      SECOND_CHARGEBACK: [{ event: 'chargeback', txn_id: `${psp}:2`, payment_txn: original, ...money }],
      CHARGEBACK_REVERSED: [{
        event: 'chargeback_reversed', txn_id: psp, payment_txn: original, ...money,
      }],
    }[code] ?? [{ verdict: 'ignored', detail: code }];
    if (code === 'AUTHORISATION' && failed) {
      return [item, [{ event: 'pay_failed', txn_id: psp, order_no: reference, occurred_at: 1777600800 }]];
    }
    return [item, facts.map((fact) => (fact.verdict ? fact : { ...fact, occurred_at: 1777600800 }))];
  }

  good() {
    const { random } = this;
    const manual = random.chance(0.5);
    const items = Array.from({ length: random.pick([1, 1, 1, 2, 3]) }, () => this.item(manual));
    return {
      message: this.message(items.map(([item]) => item), manual ? 'adyen-manual' : 'adyen-auto'),
      facts: items.flatMap(([, facts]) => facts),
    };
  }

  // One byte of a signed field of one item, or of its signature; the other
  // items stand.
  spoilt({ items, gateway }) {
    const { random } = this;
    const bad = random.below(items.length);
    const item = structuredClone(items[bad]);
    const names = SIGNED.filter((name) => name in item || name in item.amount)
      .filter((name) => item[name] !== undefined || name in item.amount);
    const name = random.chance(0.4) ? 'hmacSignature' : random.pick(names);
    const ascii = (text) => random.spoil(Buffer.from(text, 'latin1'), [DIGITS,
      'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '\x80\xbf'.repeat(2)]).toString('latin1');
    if (name === 'hmacSignature') {
      item.additionalData.hmacSignature = random.spoil(
        Buffer.from(item.additionalData.hmacSignature, 'base64')).toString('base64');
    } else if (name === 'value') {
      const digits = `${item.amount.value}`;
      let other;
      do other = Number(random.spoil(Buffer.from(digits), [DIGITS]).toString());
      while (`${other}`.length !== digits.length);
      item.amount.value = other;
    } else if (name === 'currency') item.amount.currency = ascii(item.amount.currency);
    else {
      const bytes = Buffer.from(item[name]);
      const at = bytes.findIndex((byte) => byte < 0x80);
      const part = ascii(bytes.subarray(at, at + 1).toString());
      item[name] = bytes.subarray(0, at).toString() + part + bytes.subarray(at + 1).toString();
    }
    return {
      message: this.message(items.map((other, i) => (i === bad ? item : other)), gateway),
      what: name,
      reasons: ['signature', 'body'],
      item: bad,
    };
  }

  // What the package accepts and payorder refuses.
  lax() {
    const item = () => {
      for (;;) {
        const [result, [fact]] = this.item(false);
        if (result.eventCode === 'REFUND' && fact.event === 'refund') return result;
      }
    };
    const changed = (change) => {
      const one = item();
      change(one);
      return this.message([one]);
    };
    const signature = (change) => changed((one) => {
      one.additionalData.hmacSignature = change(one.additionalData.hmacSignature);
    });
    const written = (change) => {
      const one = item();
      return this.message([one], 'adyen-auto', Buffer.from(change(JSON.stringify({
        live: 'true', notificationItems: [{ NotificationRequestItem: one }],
      }), one)));
    };
    const colon = this.sign({ ...item(), merchantReference: 'a:b' });
    const shifted = this.sign({ ...item(), pspReference: 'PSP', originalReference: 'ORIG:X' });
    Object.assign(shifted, { pspReference: 'PSP:ORIG', originalReference: 'X' });
    return {
      'a signature with blanks': [signature((s) => `${s.slice(0, 9)} ${s.slice(9)}`), 'signature'],
      'a signature with a line break': [signature((s) => `${s}\n`), 'signature'],
      'a signature without padding': [signature((s) => s.replace(/=+$/, '')), 'signature'],
      'a signature in the URL-safe alphabet': [signature(
        (s) => s.replaceAll('+', '-').replaceAll('/', '_').replace('=', '')), 'signature'],
      'a colon in a reference': [this.message([colon]), 'body'],
      'fields shifted over a colon': [this.message([shifted]), 'body'],
      'an amount with a fraction of zero': [written((text, one) =>
        text.replace(`"value":${one.amount.value}`, `"value":${one.amount.value}.0`)), 'signature'],
      'an amount with an exponent': [written((text, one) =>
        text.replace(`"value":${one.amount.value}`, `"value":${one.amount.value}e0`)), 'signature'],
      'a JSON key that is there twice': [written((text) =>
        text.replace('"eventCode"', '"eventCode":"CHARGEBACK","eventCode"')), 'body'],
      'an item of another account': [this.message([this.sign({
        ...item(), merchantAccountCode: 'OtherMerchant' })]), 'merchant'],
      'a message in test mode': [this.message([item()], 'adyen-auto', this.body([item()], 'false')), 'merchant'],
    };
  }
}
