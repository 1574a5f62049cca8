// soak: an even load for long. Memory, descriptors and latency at its end are those
// of its begin; `make k6` prints the gateway's memory before and after.
//
//   RATE      requests per second (200)
//   DURATION  how long (30m)
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

export const options = {
  scenarios: {
    soak: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 200),
      timeUnit: '1s',
      duration: __ENV.DURATION || '30m',
      preAllocatedVUs: 50,
      maxVUs: 300,
    },
  },
  thresholds: { ...thresholds(['proxied', 'policy', 'lua']), ...keptUp() },
};

const mix = [requests.plain, requests.policy, requests.lua, requests.refused, requests.heavy, () => requests.bytes(65536), () => requests.upload(70000), requests.streamed];

export default function () { mix[__ITER % mix.length](); }
