// streaming: many answers that come in pieces at once. The first piece is sent when
// it is there, and slow streams take nothing from quick requests beside them.
//
//   STREAMS   at a time (100)
//   DURATION  how long (30s)
import * as requests from '../lib/requests.js';
import { thresholds } from '../lib/slo.js';

const duration = __ENV.DURATION || '30s';

export const options = {
  scenarios: {
    streams: { executor: 'constant-vus', vus: Number(__ENV.STREAMS || 100), duration, gracefulStop: '30s', exec: 'stream' },
    beside: { executor: 'constant-arrival-rate', rate: 50, timeUnit: '1s', duration, preAllocatedVUs: 20, maxVUs: 100, exec: 'policy' },
  },
  thresholds: thresholds(['stream', 'policy']),
};

export function stream() { requests.events(20, 100); }

export const { policy } = requests;
