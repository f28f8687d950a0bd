// Random values that a seed repeats.

export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // A number of 32 bits (mulberry32).
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(limit) {
    return this.next() % limit;
  }

  between(low, high) {
    return low + this.below(high - low + 1);
  }

  chance(share) {
    return this.next() < share * 2 ** 32;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  of(characters, length) {
    return Array.from({ length }, () => this.pick(characters)).join('');
  }

  digits(length) {
    return this.of('123456789', 1) + this.of('0123456789', length - 1);
  }

  id(length) {
    return this.of('ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz0123456789', length);
  }

  bytes(length) {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  // What a buyer or a shop may have written.
  text() {
    return Array.from({ length: this.between(1, 12) }, () => this.pick([
      'cup', ' ', 'Ünïcode', '咖啡', '茶，两杯', '"', '\\', '/', "'", '&', '=', '%', '%41',
      '+', '<b>', '\n', '\t', '😀', '{}', ':', ',', '0', '-1',
    ])).join('');
  }

  // Any JSON value, for what nobody reads.
  json(depth = 3) {
    const kind = depth === 0 ? this.below(4) : this.below(6);
    if (kind === 0) return this.text();
    if (kind === 1) return this.between(-1e9, 1e9) / 100;
    if (kind === 2) return this.chance(0.5);
    if (kind === 3) return null;
    const values = Array.from({ length: this.below(4) }, () => this.json(depth - 1));
    return kind === 4 ? values
      : Object.fromEntries(values.map((value, i) => [`${this.id(3)}${i}`, value]));
  }

  // The bytes of a JSON document, written in one of several styles.
  document(value) {
    return Buffer.from(JSON.stringify(value, null, this.pick([0, 0, 1, 2, '\t']))
      + this.pick(['', '', '\n']));
  }

  // A copy in which one byte is another, of the same kind if it is in "kinds".
  spoil(bytes, kinds = []) {
    const copy = Buffer.from(bytes);
    const at = this.below(copy.length);
    const kind = kinds.find((k) => k.includes(String.fromCharCode(copy[at])));
    let other;
    do {
      other = kind === undefined ? this.below(256) : this.pick(kind).charCodeAt(0);
    } while (other === copy[at]);
    copy[at] = other;
    return copy;
  }
}

export const DIGITS = '0123456789';
export const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
