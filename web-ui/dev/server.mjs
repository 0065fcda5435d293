// Speaks docs/admin-api.md without a fleet, to work on the dashboard: `node dev/server.mjs --help`.

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Simulation } from './simulation.mjs';

const HELP = `A make-believe admin port with seeded, moving data.
  --port N        admin port (default 8099; 0 takes a free one)
  --data-port N   data port that answers completions (default: a free one)
  --seed N        which data (default 1)
  --token TOKEN   ask for this bearer token
  --empty         no replicas, no policies, no traffic
  --plain         one slot with one version, as a proxy begins
  --no-folder     no folder to record to is configured
  --quiet         no traffic of its own; only what is sent to the data port`;

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8099' }, 'data-port': { type: 'string', default: '0' }, seed: { type: 'string', default: '1' }, token: { type: 'string' },
    empty: { type: 'boolean', default: false }, quiet: { type: 'boolean', default: false }, plain: { type: 'boolean', default: false }, 'no-folder': { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});
if (options.help) { console.log(HELP); process.exit(0); }

const BODY_BYTES_MAX = 32 * 1024 * 1024;
const DIST = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.txt': 'text/plain; charset=utf-8' };

const data = createServer(answerData);
await new Promise((bound) => data.listen(Number(options['data-port']), '127.0.0.1', bound));
const simulation = new Simulation({ seed: Number(options.seed), empty: options.empty, plain: options.plain, background: !options.quiet, nowMs: () => Date.now(), dataUrl: `http://127.0.0.1:${data.address().port}` });
const listeners = new Set();

const admin = createServer(answerAdmin);
await new Promise((bound) => admin.listen(Number(options.port), '127.0.0.1', bound));
console.log(JSON.stringify({ admin_url: `http://127.0.0.1:${admin.address().port}`, data_url: simulation.dataUrl }));

setInterval(() => { tell('traffic', simulation.second()); }, 1000);
setInterval(() => {
  simulation.settle(Date.now());
  tell('fleet', simulation.fleet());
  const changed = simulation.takeChanged();
  if (changed.length > 0) { tell('decisions', changed); tell('policies', simulation.policies()); }
}, 250);

function tell(event, value) {
  const text = `event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
  for (const response of listeners) response.write(text);
}

async function answerAdmin(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (pathname === '/healthz' || pathname === '/readyz') return response.end('ok');
  if (!pathname.startsWith('/admin/') && pathname !== '/metrics') return answerFile(pathname, response);
  if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`) return refuse(response, 401, 'this admin port wants a token: send Authorization: Bearer TOKEN', { type: 'authentication_error' });
  if (request.method === 'GET' && pathname === '/admin/v1/fleet') return json(response, simulation.fleet());
  if (request.method === 'GET' && pathname === '/admin/v1/traffic') return json(response, { points: simulation.points.slice(-Number(searchParams.get('seconds') ?? 300)) });
  if (request.method === 'GET' && pathname === '/admin/v1/policies') return json(response, simulation.policies());
  if (request.method === 'GET' && pathname === '/admin/v1/decisions') return json(response, { decisions: simulation.found(searchParams) });
  if (pathname === '/admin/v1/recording') return answerRecording(request, response);
  if (request.method === 'GET' && pathname === '/admin/v1/region') return json(response, simulation.fleet().regions[0]);
  if (request.method === 'GET' && pathname === '/admin/v1/events') return answerEvents(request, response);
  if (request.method === 'GET' && pathname === '/metrics') return response.end('# a make-believe proxy measures nothing\n');
  const decision = /^\/admin\/v1\/decisions\/([^/]+)$/.exec(pathname);
  if (decision && request.method === 'GET') return answerDecision(response, decodeURIComponent(decision[1]));
  const component = /^\/admin\/v1\/policies\/([^/]+)\/versions\/(\d+)\/component$/.exec(pathname);
  if (component && request.method === 'GET') return answerComponent(response, decodeURIComponent(component[1]), Number(component[2]));
  const slot = /^\/admin\/v1\/policies\/([^/]+)(?:\/(\w+))?$/.exec(pathname);
  if (slot) return answerPolicy(request, response, { slot: decodeURIComponent(slot[1]), act: `${request.method} ${slot[2] ?? ''}`.trim(), searchParams });
  return refuse(response, 404, `no such path: ${request.method} ${pathname}`);
}

function answerEvents(request, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const now = [['fleet', simulation.fleet()], ['policies', simulation.policies()], ['decisions', simulation.decisions.slice(0, 100)]];
  for (const [event, value] of now) response.write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
  const point = simulation.points.at(-1);
  if (point) response.write(`event: traffic\ndata: ${JSON.stringify(point)}\n\n`);
  listeners.add(response);
  request.on('close', () => listeners.delete(response));
}

async function answerPolicy(request, response, { slot, act, searchParams }) {
  const { chain } = simulation;
  const canary = searchParams.get('canary');
  const percent = canary === null ? null : Number(canary);
  if (percent !== null && !(Number.isInteger(percent) && percent >= 1 && percent <= 99)) return refuse(response, 400, `canary=${canary} is no whole number from 1 to 99`, { param: 'canary' });
  const given = { by: request.headers['x-headworks-user'] ?? 'admin', percent, signature: request.headers['x-headworks-signature'] };
  if (act === 'PUT') return answerChange(response, chain.put(slot, await bodyOf(request), given));
  if (act === 'POST rollback') return answerChange(response, chain.rollback(slot, given));
  if (act === 'POST promote') return answerChange(response, chain.promote(slot, given));
  const place = chain.find(slot);
  if (act === 'GET config' && place) return json(response, (({ config, config_schema: schema }) => ({ config, schema }))(chain.viewOf(place)));
  let body;
  try {
    body = JSON.parse((await bodyOf(request)).toString() || '{}');
  } catch {
    return refuse(response, 400, 'the body is not JSON');
  }
  if (act === 'POST pull') return answerChange(response, chain.pull(slot, body.reference, given));
  if (act === 'POST activate') return answerChange(response, chain.activate(slot, body.version, given));
  if (act === 'PUT config') return answerChange(response, chain.configure(slot, body, given));
  return refuse(response, 404, `no such path: ${act} of slot "${slot}"`);
}

function answerComponent(response, slot, number) {
  const version = simulation.chain.find(slot)?.versions.find((one) => one.number === number);
  if (!version) return refuse(response, 404, `slot "${slot}" keeps no version ${number}`, { code: 'unknown_version' });
  response.writeHead(200, { 'content-type': 'application/wasm' });
  return response.end(version.hidden.content);
}

async function answerRecording(request, response) {
  if (request.method === 'GET') return json(response, simulation.recording);
  if (options['no-folder']) return refuse(response, 409, 'no folder to record to is configured: set [recording] folder', { code: 'no_recording_folder' });
  const { status, recording, message, code } = simulation.setRecording(JSON.parse((await bodyOf(request)).toString()));
  return status === 200 ? json(response, recording) : refuse(response, status, message, { code });
}

function answerDecision(response, id) {
  const decision = simulation.decisions.find((one) => one.id === id);
  return decision ? json(response, decision) : refuse(response, 404, `no decision is kept under "${id}"`, { code: 'unknown_decision' });
}

function answerChange(response, { status, slot, message, code, param }) {
  if (status !== 200) return refuse(response, status, message, { code, param });
  tell('policies', simulation.policies());
  return json(response, slot);
}

function answerFile(pathname, response) {
  const path = join(DIST, normalize(pathname === '/' ? '/index.html' : pathname));
  if (!path.startsWith(DIST) || !existsSync(path)) return refuse(response, 404, 'no such file; was the dashboard built? `npm run build`');
  response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream', 'content-security-policy': "default-src 'self'; frame-ancestors 'none'", 'x-content-type-options': 'nosniff' });
  return createReadStream(path).pipe(response);
}

async function answerData(request, response) {
  const body = JSON.parse((await bodyOf(request)).toString() || '{}');
  const trace = /^00-([0-9a-f]{32})-/.exec(request.headers.traceparent ?? '')?.[1] ?? null;
  const decision = simulation.decide(Date.now(), { model: body.model, endpoint: request.url, stream: body.stream === true, trace, tenant: request.headers['x-tenant'] ?? 'anonymous' });
  if (decision.outcome === 'refused') return refuse(response, 503, 'no replica takes work', { type: 'server_error' });
  // As long as the make-believe request takes, so that a client in a loop sends at a human pace.
  const entry = simulation.running.find((one) => one.decision === decision);
  await new Promise((resolve) => setTimeout(resolve, entry.ends - Date.now()));
  return json(response, { id: decision.id, object: 'chat.completion', model: body.model, choices: [{ index: 0, message: { role: 'assistant', content: 'make-believe' }, finish_reason: 'stop' }], usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 } });
}

async function bodyOf(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > BODY_BYTES_MAX) throw new Error('body too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function json(response, value) {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

function refuse(response, status, message, { type = 'invalid_request_error', param = null, code = null } = {}) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { message, type, param, code } }));
}
