// reload: a reload each second under an even load of POSTs, which clients never send
// twice. No request may fail, none may be late.
//
//   RATE      requests per second (200)
//   DURATION  how long (30s)
//   ADMIN     the admin listener (http://127.0.0.1:19901)
import { check } from 'k6';
import http from 'k6/http';
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

const admin = __ENV.ADMIN || 'http://127.0.0.1:19901';
const duration = __ENV.DURATION || '30s';

export const options = {
  scenarios: {
    load: { executor: 'constant-arrival-rate', rate: Number(__ENV.RATE || 200), timeUnit: '1s', duration, preAllocatedVUs: 50, maxVUs: 300, exec: 'load' },
    reloads: { executor: 'constant-arrival-rate', rate: 1, timeUnit: '1s', duration, preAllocatedVUs: 2, maxVUs: 10, exec: 'reload' },
  },
  thresholds: { ...thresholds(['proxied', 'policy']), ...keptUp() },
};

export function load() {
  if (__ITER % 2) requests.posted();
  else requests.policy();
}

export function reload() {
  const r = http.post(`${admin}/reload`, null, { tags: { route: 'admin', name: 'reload' }, timeout: '30s' });
  check(r, { 'reload: applied': (r) => r.status === 200 });
}
