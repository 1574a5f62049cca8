// lua-heavy: scripts that compute (JSON, patterns, hashes) beside ones that do not:
// the light ones may not wait for the heavy ones.
//
//   RATE      heavy requests per second (50)
//   DURATION  how long (30s)
import * as requests from '../lib/requests.js';
import { keptUp, thresholds } from '../lib/slo.js';

const rate = Number(__ENV.RATE || 50);
const duration = __ENV.DURATION || '30s';
const steady = (perSecond, exec) => ({
  executor: 'constant-arrival-rate', rate: perSecond, timeUnit: '1s', duration, preAllocatedVUs: 30, maxVUs: 300, exec,
});

export const options = {
  scenarios: { heavy: steady(rate, 'heavy'), light: steady(2 * rate, 'lua') },
  thresholds: { ...thresholds(['heavy', 'lua']), ...keptUp() },
};

export const { heavy, lua } = requests;
