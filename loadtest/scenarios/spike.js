// spike: ten times the load from one second to the next, and back. Nothing may
// break; when it is over the gateway is as fast as before.
//
//   RATE   requests per second before and after (100)
import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import * as requests from '../lib/requests.js';
import { overloaded, thresholds } from '../lib/slo.js';

const rate = Number(__ENV.RATE || 100);
const target = __ENV.TARGET || 'http://127.0.0.1:18080';
const broken = new Counter('broken');

function phase(perSecond, startTime, duration, exec) {
  return {
    executor: 'constant-arrival-rate', rate: perSecond, timeUnit: '1s', startTime, duration,
    preAllocatedVUs: Math.min(500, perSecond), maxVUs: 1000, exec,
  };
}

// The SLO holds for who asks at an even rate, before and after.
function after() {
  const { http_req_failed: _, checks: __, ...inTime } = thresholds(['policy']);
  return inTime;
}

export const options = {
  scenarios: {
    before: phase(rate, '0s', '10s', 'calm'),
    spike: phase(rate * 10, '10s', '15s', 'storm'),
    // Five seconds to recover, then as before.
    after: phase(rate, '30s', '15s', 'calm'),
  },
  thresholds: { ...overloaded(0.05), ...after() },
};

export function calm() { requests.policy(); }

export function storm() {
  const r = http.get(`${target}/`, { tags: { route: 'storm', name: 'storm' } });
  if (r.status === 0) broken.add(1);
  check(r, { 'storm: an answer, or a refusal': (r) => r.status === 200 || r.status === 503 });
}
