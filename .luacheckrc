-- luacheck's settings. Scripts run in LuaJIT (OpenResty's fork), 80 columns.
std = "luajit"
max_line_length = 80
globals = { "ngx", "perigee" }
exclude_files = { ".deps/**", "bin/**" }

-- The core library replaces what must know of waiting exchanges.
files["luavm/lualib/**"] = {
    globals = {
        "coroutine", "table", "string", "package", "debug", "os", "io",
        "pcall", "xpcall", "unsafe_pcall", "unsafe_xpcall", "require",
        "print", "newproxy", "loadstring", "load", "loadfile", "dofile",
        "collectgarbage", "getfenv", "setfenv", "jit",
    },
}

-- wrk calls these by name.
files["loadtest/wrk/**"] = {
    globals = { "wrk", "setup", "init", "request", "response", "done", "delay" },
}

-- Specs of `perigee test`.
files["**/*_spec.lua"] = { std = "luajit+busted" }
