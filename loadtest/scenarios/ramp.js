// ramp: an open loop that grows evenly from nothing. Where the thresholds break is
// the capacity within the SLO; loadtest/capacity.sh looks for it.
//
//   RATE      requests per second at the top (1000)
//   DURATION  how long the way up takes (60s)
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

const rate = Number(__ENV.RATE || 1000);

export const options = {
  scenarios: {
    ramp: {
      executor: 'ramping-arrival-rate',
      startRate: Math.max(1, Math.round(rate / 20)),
      timeUnit: '1s',
      preAllocatedVUs: 50,
      maxVUs: 500,
      stages: [
        { target: rate, duration: __ENV.DURATION || '60s' },
        { target: rate, duration: '10s' },
      ],
    },
  },
  thresholds: { ...thresholds(['proxied', 'policy', 'lua']), ...keptUp() },
};

export default function () {
  const n = Math.random();
  if (n < 0.5) requests.plain();
  else if (n < 0.8) requests.policy();
  else requests.lua();
}
