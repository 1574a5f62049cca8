// fleet: one kind of POST in an open loop of any shape, for a fleet that changes
// under it (kustomize/e2e). Each answer that is none of those expected is written
// to the log as JSON: when the request began, how long it took, what came.
//
//   TARGET  the Service's address
//   KIND    echo (proxied), heavy (CPU), wait (in flight for 0.5 s), long (2 s),
//           limited (200 or 429)
//   STAGES  requests per second and seconds, RATE:SECONDS,RATE:SECONDS,... (50:5)
//
// There are no bounds of time here: what is asked is whether anything is lost.
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const target = __ENV.TARGET;
const kind = __ENV.KIND || 'echo';
const stages = (__ENV.STAGES || '50:5').split(',').map((s) => {
  const [rate, seconds] = s.split(':');
  return { target: Number(rate), duration: `${seconds}s` };
});
const answered = { 200: new Counter('answered_200'), 429: new Counter('answered_429') };

export const options = {
  scenarios: {
    fleet: {
      executor: 'ramping-arrival-rate', startRate: stages[0].target, timeUnit: '1s',
      preAllocatedVUs: 100, maxVUs: 1000, stages, gracefulStop: '30s',
    },
  },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  thresholds: { http_req_failed: ['rate==0'], dropped_iterations: ['count==0'] },
};

const items = JSON.stringify({ items: Array.from({ length: 50 }, (_, i) => ({ id: i, name: `item ${i}` })) });
const kinds = {
  echo: { path: '/echo', body: 'a body', expect: [200] },
  heavy: { path: '/heavy', body: items, expect: [200] },
  wait: { path: '/wait', body: 'a body', expect: [200] },
  long: { path: '/wait?seconds=2', body: 'a body', expect: [200] },
  limited: { path: '/limited', body: 'a body', expect: [200, 429] },
};
const { path, body, expect } = kinds[kind];
const responseCallback = http.expectedStatuses(...expect);

export default function () {
  const headers = { 'Content-Type': 'application/json', 'X-Api-Key': 'fleet' };
  const began = Date.now();
  const r = http.post(target + path, body, { headers, responseCallback, timeout: '20s', tags: { name: `POST ${path}` } });
  if (answered[r.status]) answered[r.status].add(1);
  if (!expect.includes(r.status)) {
    console.error(JSON.stringify({ began, took: Date.now() - began, status: r.status, error: r.error }));
  }
}
