// limit: is a limit of 50 a second, with a burst of 10, kept to the request? Three
// times as many are sent; how many pass is exact but for the edges.
//
//   DURATION  seconds (20)
import { Counter } from 'k6/metrics';
import * as requests from '../lib/requests.js';
import { accurate, keptUp, thresholds } from '../lib/slo.js';

// As in ../perigee.yaml.
const rate = 50;
const burst = 10;
const seconds = Number(__ENV.DURATION || 20);
const passed = new Counter('limit_passed');

export const options = {
  scenarios: {
    limit: { executor: 'constant-arrival-rate', rate: 3 * rate, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: 50, maxVUs: 300 },
  },
  thresholds: { ...thresholds(['limited']), ...keptUp(), ...accurate(rate, burst, seconds) },
};

// A key of this run's own: its bucket is full at the begin.
export function setup() { return `k6-${Date.now()}`; }

export default function (key) { if (requests.limited(key)) passed.add(1); }
