-- Lets a request with a known key pass, five times a second.
local consumers = { ["demo-key"] = "alice", ["other-key"] = "bob" }
local limit = 5

local key = ngx.req.get_headers()["x-api-key"]
local consumer = key and consumers[key]
if not consumer then
    ngx.header["WWW-Authenticate"] = 'ApiKey realm="demo"'
    return ngx.exit(ngx.HTTP_UNAUTHORIZED)
end

local n, err = ngx.shared.counters:incr(key .. ":" .. ngx.time(), 1, 0, 2)
if not n then
    ngx.log(ngx.ERR, "counting requests of ", consumer, ": ", err)
elseif n > limit then
    ngx.header["Retry-After"] = 1
    return ngx.exit(ngx.HTTP_TOO_MANY_REQUESTS)
end
ngx.req.set_header("X-Consumer", consumer)
