// Stripe: webhooks.generateTestHeaderString signs, webhooks.constructEvent
// verifies.

import { DIGITS } from './random.mjs';

const MINOR = { USD: 2, EUR: 2, CNY: 2, JPY: 0, KRW: 0, KWD: 3 };
const TYPES = {
  'payment_intent.succeeded': 'pay',
  'payment_intent.payment_failed': 'pay_failed',
  'payment_intent.canceled': 'pay_closed',
  'refund.created': 'refund',
  'refund.updated': 'refund',
  'charge.refund.updated': 'refund_failed',
  'refund.failed': 'refund_failed',
  'charge.dispute.funds_withdrawn': 'chargeback',
  'charge.dispute.funds_reinstated': 'chargeback_reversed',
  'charge.dispute.closed': 'chargeback_lost',
  'charge.succeeded': null,
  'charge.refunded': null,
  'checkout.session.completed': null,
  'customer.created': null,
};

export class Gateway {
  constructor(load, random) {
    this.random = random;
    this.webhooks = load('stripe').webhooks;
    this.secret = `whsec_${random.id(32)}`;
    this.gateways = { stripe: { adapter: 'stripe', merchant: 'acct_test' } };
    this.keys = [{ gateway: 'stripe', secret: this.secret }];
  }

  sign(body, at) {
    return this.webhooks.generateTestHeaderString({
      payload: body.toString(), secret: this.secret, timestamp: at,
    });
  }

  message(body, at, header = this.sign(body, at)) {
    return { gateway: 'stripe', headers: { 'Stripe-Signature': header }, body, at };
  }

  accepts({ headers, body, at }) {
    this.webhooks.constructEvent(body, headers['Stripe-Signature'], this.secret,
      undefined, undefined, at * 1000);
    return true;
  }

  event(type, object, more = {}) {
    const { random } = this;
    return {
      id: `evt_${random.id(24)}`, object: 'event', api_version: '2025-03-31.basil',
      created: random.between(1500000000, 1900000000),
      data: { object, previous_attributes: random.json() },
      livemode: true, pending_webhooks: random.below(4), request: random.json(1), type, ...more,
    };
  }

  // An object of a type, and what it says.
  subject(type) {
    const { random } = this;
    const event = TYPES[type];
    const currency = random.pick(Object.keys(MINOR));
    const amount = random.between(1, 1e9);
    const pi = `pi_${random.id(24)}`;
    const no = random.chance(0.8) ? `P-${random.id(10)}` : undefined;
    const object = {
      currency: currency.toLowerCase(), amount, description: random.text(),
      metadata: { note: random.text() }, anything: random.json(),
    };
    if (event === null) return [{ id: `ch_${random.id(24)}`, ...object }, null];
    if (type.startsWith('payment_intent.')) {
      Object.assign(object, { id: pi, amount_received: amount, amount: amount + 1 });
      if (no !== undefined) object.metadata.payment_no = no;
      if (event === 'pay_failed') {
        const charge = `ch_${random.id(24)}`;
        object.latest_charge = random.chance(0.5) ? charge : { id: charge };
        return [object, { event, txn_id: charge, order_no: no, payment_txn: pi }];
      }
      return [object, event === 'pay' ? { event, txn_id: pi, order_no: no, amount, currency }
        : { event, txn_id: pi, order_no: no }];
    }
    object.payment_intent = random.chance(0.5) ? pi : { id: pi, object: 'payment_intent' };
    if (type.startsWith('charge.dispute.')) {
      Object.assign(object, { id: `dp_${random.id(24)}`, status: 'lost' });
      return [object, event === 'chargeback_lost' ? { event, txn_id: object.id, payment_txn: pi }
        : { event, txn_id: object.id, payment_txn: pi, amount, currency }];
    }
    Object.assign(object, {
      id: `re_${random.id(24)}`,
      status: event === 'refund' ? 'succeeded' : random.pick(['failed', 'canceled']),
    });
    if (no !== undefined) object.metadata.refund_no = no;
    return [object, { event, txn_id: object.id, payment_txn: pi, refund_no: no, amount, currency }];
  }

  good() {
    const { random } = this;
    const type = random.pick(Object.keys(TYPES));
    const [object, fact] = this.subject(type);
    const event = this.event(type, object);
    const message = this.message(random.document(event), random.between(1600000000, 1900000000));
    if (random.chance(0.2)) message.headers['Stripe-Signature'] += `,v0=${'0'.repeat(64)}`;
    return {
      message,
      facts: [fact === null ? { verdict: 'ignored', detail: type }
        : { ...fact, occurred_at: event.created }],
    };
  }

  // One byte of the time, of the body or of the signature.
  spoilt({ headers, body, at, ...rest }) {
    const { random } = this;
    const [, time, mac] = /^t=(\d+),v1=([0-9a-f]+)/.exec(headers['Stripe-Signature']);
    const result = { ...rest, headers: { ...headers }, body, at };
    const where = random.below(3);
    const header = (t, v1) => { result.headers['Stripe-Signature'] = `t=${t},v1=${v1}`; };
    if (where === 0) header(random.spoil(Buffer.from(time), [DIGITS]), mac);
    else if (where === 1) header(time, random.spoil(Buffer.from(mac, 'hex')).toString('hex'));
    else result.body = random.spoil(body);
    return { message: result, what: ['time', 'signature', 'body'][where], reasons: ['signature'] };
  }

  // What the package accepts and payorder refuses.
  lax() {
    const { random } = this;
    const at = random.between(1600000000, 1900000000);
    const pay = (more) => random.document(this.event('payment_intent.succeeded',
      this.subject('payment_intent.succeeded')[0], more));
    const body = pay();
    const [, mac] = /v1=(.*)/.exec(this.sign(body, at));
    const bad = Buffer.from(body.toString().replace('"description"', '"d\uFFFD"'));
    const twice = Buffer.from(body.toString().replace(/\{/, '{"type":"customer.created",'));
    return {
      'a time ten years ahead': [this.message(body, at - 10 * 366 * 86400, this.sign(body, at)), 'time'],
      'two times': [this.message(body, at, `t=${at - 1000000},t=${at},v1=${mac}`), 'header'],
      'a time with letters after it': [this.message(body, at, `t=${at}s,v1=${mac}`), 'header|signature'],
      'a time with a blank before it': [this.message(body, at, `t= ${at},v1=${mac}`), 'header|signature'],
      'an item with two equals signs': [this.message(body, at, `t=${at},v1=${mac}=x`), 'header'],
      'an item without a value': [this.message(body, at, `t=${at},v1=${mac},v0`), 'header'],
      'bytes that are not UTF-8': [this.message(
        Buffer.from(bad.toString('latin1').replace('\xef\xbf\xbd', '\xff'), 'latin1'), at,
        this.sign(bad, at)), 'signature'],
      'a JSON key that is there twice': [this.message(twice, at), 'body'],
      'an event in test mode': [this.message(pay({ livemode: false }), at), 'merchant'],
      'an event of another account': [this.message(pay({ account: 'acct_other' }), at), 'merchant'],
    };
  }
}
