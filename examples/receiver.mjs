// Takes gateways' callbacks: POST /NAME_OF_GATEWAY.  See README.md.
import { createServer } from 'node:http';
import pg from 'pg';

const TAKE = 'SELECT ack_status, ack_type, ack_body FROM payorder.ingest_http($1, $2, $3, $4)';
const MOST = 1 << 20; // bytes
const pool = new pg.Pool({ connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error(error.code)); // an idle connection broke

async function take(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    chunks.push(chunk);
    if ((length += chunk.length) > MOST) throw new Error('too large');
  }
  const url = new URL(request.url, 'http://localhost');
  const headers = request.headersDistinct; // all that came twice, too
  const message = [url.pathname.slice(1), JSON.stringify(headers), Buffer.concat(chunks), url.search.slice(1)];
  // one statement is its own transaction: the answer comes after the commit
  return (await pool.query(TAKE, message)).rows[0];
}

const server = createServer(async (request, response) => {
  let ack = { ack_status: 503, ack_type: 'text/plain', ack_body: 'try again later' };
  try {
    if (request.method === 'POST') ack = await take(request);
  } catch (error) { // whatever it is: no success
    console.error(error.code ?? error.name);
  }
  response.writeHead(ack.ack_status, { 'Content-Type': ack.ack_type });
  response.end(ack.ack_body);
});
server.requestTimeout = 10_000;
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1');
