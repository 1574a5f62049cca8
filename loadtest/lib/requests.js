// The requests that scenarios are made of: each knows its answer and checks it.
import http from 'k6/http';
import { check } from 'k6';

const target = __ENV.TARGET || 'http://127.0.0.1:18080';

// refusal tells k6 that this status is what was asked for, not a failure.
const refusal = (status) => http.expectedStatuses(status);

function request(route, method, path, { body = null, ...params } = {}) {
  return http.request(method, target + path, body, { tags: { route, name: `${method} ${path}` }, ...params });
}

export function plain() {
  const r = request('proxied', 'GET', '/');
  check(r, { 'plain: the origin answers': (r) => r.status === 200 && r.body === 'hello from the origin\n' });
}

export function bytes(n) {
  const r = request('proxied', 'GET', `/bytes/${n}`);
  check(r, {
    [`bytes: ${n} arrive`]: (r) => r.status === 200 && r.body.length === n,
    'bytes: the pattern is whole': (r) => n === 0 || r.body.charCodeAt(n - 1) === 97 + ((n - 1) % 26),
  });
}

export function upload(n) {
  const body = 'x'.repeat(n);
  const r = request('proxied', 'POST', '/echo', { body, headers: { 'Content-Type': 'text/plain' } });
  check(r, { [`upload: ${n} bytes come back`]: (r) => r.status === 200 && r.body.endsWith(`\n\n${body}`) });
}

export function streamed() {
  const r = request('proxied', 'GET', '/stream?chunks=3&every=10');
  check(r, { 'stream: all chunks arrive': (r) => r.status === 200 && r.body.endsWith('chunk 3 of 3\n') });
}

export function passedOn(status) {
  const r = request('proxied', 'GET', `/status/${status}`, { responseCallback: refusal(status) });
  check(r, { [`status: ${status} passes through`]: (r) => r.status === status });
}

export function policy() {
  const r = request('policy', 'GET', '/policy/echo', { headers: { 'X-Api-Key': 'load' } });
  check(r, {
    'policy: let through': (r) => r.status === 200,
    'policy: the path is rewritten': (r) => r.body.startsWith('GET /echo\n'),
    'policy: the origin sees the consumer': (r) => r.body.includes('X-Consumer: load\n'),
    'policy: the client sees the filter': (r) => r.headers['X-Policy'] === 'passed',
  });
}

export function refused() {
  const r = request('policy', 'GET', '/policy/echo', { responseCallback: refusal(401) });
  check(r, { 'policy: no key, no entry': (r) => r.status === 401 });
}

export function lua() {
  const r = request('lua', 'GET', '/lua?name=k6');
  check(r, { 'lua: answers': (r) => r.status === 200 && r.json('name') === 'k6' && r.json('method') === 'GET' });
}

// heavy makes a script compute: hashes, patterns, JSON.
export function heavy() {
  const r = request('heavy', 'POST', '/heavy', { body: JSON.stringify({ items: Array.from({ length: 50 }, (_, i) => ({ id: i, name: `item ${i}` })) }), headers: { 'Content-Type': 'application/json' } });
  check(r, { 'heavy: all items come back': (r) => r.status === 200 && r.json('count') === 50 && r.json('digest').length === 40 });
}

// limited asks at a route with a limit; true: it was let through.
export function limited(key) {
  const r = request('limited', 'GET', '/limited', { headers: { 'X-Api-Key': key }, responseCallback: http.expectedStatuses(200, 429) });
  check(r, {
    'limited: 200 or 429': (r) => r.status === 200 || r.status === 429,
    'limited: a refusal says when to come back': (r) => r.status === 200 || Number(r.headers['Retry-After']) >= 0,
  });
  return r.status === 200;
}

// events reads a stream of lines, one each every milliseconds.
export function events(chunks, every) {
  const r = request('stream', 'GET', `/stream?chunks=${chunks}&every=${every}`);
  check(r, {
    'events: all chunks arrive': (r) => r.status === 200 && r.body.endsWith(`chunk ${chunks} of ${chunks}\n`),
    // A gateway that waits for the end before it sends shows here.
    'events: the first comes before the last is made': (r) => r.timings.waiting < (chunks - 1) * every,
  });
}

// A body that a POST brings is never sent twice by an HTTP client: what a drain or
// a restart loses shows.
export function posted() {
  const r = request('proxied', 'POST', '/echo', { body: 'a body', headers: { 'Content-Type': 'text/plain' } });
  check(r, { 'post: comes back': (r) => r.status === 200 && r.body.endsWith('\n\na body') });
}
