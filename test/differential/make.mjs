// Prints messages of gateways as JSON lines, signed by the gateways' own
// packages, with what they say and what the packages say of them.
//
//   node make.mjs FOLDER SEED COUNT [gateway]...
//
// FOLDER holds node_modules.  A gateway's keys come first, then for each
// number a good message and the same with one byte changed, then messages on
// which package and payorder differ, by name.

import { createRequire } from 'node:module';
import { Random } from './random.mjs';

const [folder, seed, count, ...chosen] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const names = chosen.length > 0 ? chosen : ['stripe', 'wechatpay', 'alipay', 'adyen'];

// Whether the package takes it; that it raises an error is a no.
function verdict(gateway, message) {
  try {
    return gateway.accepts(message);
  } catch {
    return false;
  }
}

function print(source, gateway, kind, message, more) {
  process.stdout.write(`${JSON.stringify({
    source, kind, gateway: message.gateway, headers: message.headers,
    body: message.body.toString('base64'), at: message.at, package: verdict(gateway, message),
    ...more,
  })}\n`);
}

for (const [index, name] of names.entries()) {
  const { Gateway } = await import(`./${name}.mjs`);
  const gateway = new Gateway(load, new Random(Number(seed) * 16 + index), folder);
  process.stdout.write(`${JSON.stringify({
    source: name, kind: 'keys', gateways: gateway.gateways, keys: gateway.keys,
  })}\n`);
  for (let number = 0; number < Number(count); number++) {
    const { message, facts } = gateway.good();
    print(name, gateway, 'good', message, { number, facts });
    const { message: spoilt, ...what } = gateway.spoilt(message);
    print(name, gateway, 'spoilt', spoilt, { number, ...what });
  }
  for (const [what, [message, reasons]] of Object.entries(gateway.lax())) {
    print(name, gateway, 'lax', message, { what, reasons: reasons.split('|') });
  }
  for (const [what, [message, facts]] of Object.entries(gateway.strict?.() ?? {})) {
    print(name, gateway, 'strict', message, { what, facts });
  }
}
