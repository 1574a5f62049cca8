-- wrk script: one JSON line at the end, for capacity/. Requests are wrk's own.

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.3f,"per_second":%.0f,' ..
        '"p50_us":%d,"p99_us":%d,"not_2xx_3xx":%d,"broken":%d}\n',
        summary.requests, summary.duration / 1e6,
        summary.requests / (summary.duration / 1e6),
        latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
