// autoscale: up, stay, down, for a gateway that is scaled (kustomize/overlays/loadtest).
// Requests are POSTs: what a scale-in loses is not repeated by the client.
//
//   TARGET    the Service's or load balancer's address
//   RATE      requests per second at the top (2000)
//   UP, TOP, DOWN  how long (2m, 3m, 10m: scaling down waits five)
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

const rate = Number(__ENV.RATE || 2000);
const low = Math.max(1, Math.round(rate / 20));

export const options = {
  scenarios: {
    autoscale: {
      executor: 'ramping-arrival-rate', startRate: low, timeUnit: '1s', preAllocatedVUs: 100, maxVUs: 2000,
      stages: [
        { target: rate, duration: __ENV.UP || '2m' },
        { target: rate, duration: __ENV.TOP || '3m' },
        { target: low, duration: '10s' },
        { target: low, duration: __ENV.DOWN || '10m' },
      ],
    },
  },
  thresholds: { ...thresholds(['proxied', 'policy']), ...keptUp() },
};

export default function () {
  if (Math.random() < 0.7) requests.posted();
  else requests.policy();
}
