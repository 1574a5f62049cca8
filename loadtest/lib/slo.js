// What "good" means, in one place: scenarios choose their thresholds here, so
// that they cannot drift apart. SLO_SCALE=2 doubles every bound of time, for
// machines that do other work too.
const scale = Number(__ENV.SLO_SCALE || 1);

// Milliseconds by the kind of route; requests carry it as a tag. Bounds are for
// generator, gateway and origin on a few shared cores: they catch queues and
// stalls, not percents (bench/ measures those). p99 agrees with the alert
// PerigeeSlow: never above half a second.
const latency = {
  proxied: { p95: 50, p99: 250 },
  policy: { p95: 50, p99: 250 },
  lua: { p95: 30, p99: 150 },
  heavy: { p95: 150, p99: 500 },
  limited: { p95: 30, p99: 150 },
  // To the first byte: the rest comes when the origin has it.
  stream: { p95: 100, p99: 400 },
};

// thresholds(routes) -> k6 thresholds: nothing fails, every check holds, and the
// routes named answer in time.
export function thresholds(routes) {
  const all = {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
  };
  for (const route of routes) {
    const { p95, p99 } = latency[route];
    const metric = route === 'stream' ? 'http_req_waiting' : 'http_req_duration';
    all[`${metric}{route:${route}}`] = [`p(95)<${p95 * scale}`, `p(99)<${p99 * scale}`];
  }
  return all;
}

// An open loop that cannot start its requests in time measures k6, not the
// gateway: such a run is void.
export function keptUp() {
  return { dropped_iterations: ['count==0'] };
}

// Beyond what a gateway can take it may refuse, and must not break: 503 is an
// answer, a lost connection is none. share is how many may be refused.
export function overloaded(share) {
  return {
    checks: ['rate==1'],
    http_req_failed: [`rate<=${share}`],
    broken: ['count==0'],
  };
}

// Of a limit of so many requests a second, kept for that long: never more than
// rate and burst allow, and not one in a hundred less.
export function accurate(rate, burst, seconds) {
  const most = rate * seconds + burst;
  return { limit_passed: [`count<=${most}`, `count>=${Math.floor(most * 0.99)}`] };
}
