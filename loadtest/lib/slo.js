// What "good" means, in one place: scenarios choose their thresholds here, so
// that smoke, steady and whatever follows cannot drift apart.

// Loopback on a small shared machine. Latency bounds are wide on purpose: they
// catch queues and stalls, not percents (bench/ measures those).
const latency = {
  proxied: { p95: 50, p99: 250 },
  policy: { p95: 50, p99: 250 },
  lua: { p95: 30, p99: 150 },
};

// thresholds(routes) -> k6 thresholds: nothing fails, every check holds, and
// the routes named answer in time. Requests carry their route as a tag.
export function thresholds(routes) {
  const all = {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
  };
  for (const route of routes) {
    const { p95, p99 } = latency[route];
    all[`http_req_duration{route:${route}}`] = [`p(95)<${p95}`, `p(99)<${p99}`];
  }
  return all;
}

// An open loop that cannot start its requests in time measures k6, not the
// gateway: such a run is void.
export function keptUp() {
  return { dropped_iterations: ['count==0'] };
}
