-- wrk script: requests with the header sizes of a browser behind a gateway, a
-- key that the policy route asks for, and an id that differs each time, so
-- that nothing on the way can answer from memory. Prints one JSON line.
--
--   wrk -t1 -c64 -d10s -s loadtest/wrk/headers.lua \
--       http://127.0.0.1:18080/policy/

local common = {
    ["X-Api-Key"] = "load",
    ["Accept"] = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Accept-Language"] = "en-GB,en;q=0.8,de;q=0.5",
    ["Cookie"] = "sid=0123456789abcdef0123456789abcdef; theme=dark",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko",
}

local count = 0

function request()
    count = count + 1
    common["X-Request-Id"] = string.format("load-%08x", count)
    return wrk.format("GET", nil, common)
end

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
