// smoke: every kind of request a few times, one at a time. Is it right at all?
import * as requests from '../lib/requests.js';
import { thresholds } from '../lib/slo.js';

export const options = {
  scenarios: {
    smoke: { executor: 'per-vu-iterations', vus: 1, iterations: 5, maxDuration: '1m' },
  },
  // One user waits for /stream on purpose, so only what is not proxied is timed.
  thresholds: thresholds(['policy', 'lua']),
};

export default function () {
  requests.plain();
  for (const n of [0, 1, 4096, 1 << 20]) requests.bytes(n);
  for (const n of [1, 70000]) requests.upload(n);
  requests.streamed();
  for (const status of [204, 404, 503]) requests.passedOn(status);
  requests.policy();
  requests.refused();
  requests.lua();
}
