// steady: an even open-loop rate over the three kinds of routes. Requests start
// when they are due, whether or not earlier ones are answered, so that a stall
// shows in the percentiles instead of slowing the load down.
//
//   RATE      requests per second over all routes (300)
//   DURATION  how long (30s)
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

const rate = Number(__ENV.RATE || 300);
const duration = __ENV.DURATION || '30s';

function share(part, exec) {
  return {
    executor: 'constant-arrival-rate',
    rate: Math.max(1, Math.round(rate * part)),
    timeUnit: '1s',
    duration,
    preAllocatedVUs: 50,
    maxVUs: 200,
    exec,
  };
}

export const options = {
  scenarios: {
    proxied: share(0.5, 'plain'),
    policy: share(0.3, 'policy'),
    lua: share(0.2, 'lua'),
  },
  thresholds: { ...thresholds(['proxied', 'policy', 'lua']), ...keptUp() },
};

export const { plain, policy, lua } = requests;
