counters = ngx.shared.counters
