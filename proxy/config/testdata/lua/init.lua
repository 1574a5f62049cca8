-- luacheck: globals counters
counters = ngx.shared.counters
