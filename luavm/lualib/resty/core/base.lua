-- resty.core.base: buffers and constants that libraries over FFI share.

local P = ...

local ffi = require "ffi" -- declares ngx_http_request_t and others
local new_tab = require "table.new"
local clear_tab = require "table.clear"

local error, select = error, select
local ceil = math.ceil
local ffi_new, ffi_cast = ffi.new, ffi.cast

local vm = P.vm
local INIT = ffi.C.PG_PHASE_INIT

local base = {
  version = P.resty_core_version,
  new_tab = new_tab,
  clear_tab = clear_tab,

  FFI_OK = 0,
  FFI_ERROR = -1,
  FFI_AGAIN = -2,
  FFI_BUSY = -3,
  FFI_DONE = -4,
  FFI_DECLINED = -5,
  FFI_NO_REQ_CTX = -100,
  FFI_BAD_CONTEXT = -101,
}

local message = ffi_new("char *[1]")
local size = ffi_new("size_t[1]")
local bytes = ffi.typeof("char[?]")
local shared, shared_size = nil, 4096

function base.get_errmsg_ptr()
  return message
end

function base.get_size_ptr()
  return size
end

-- A buffer of at least n bytes, valid until the next call that asks for one;
-- own: one that nobody else gets.
function base.get_string_buf(n, own)
  if n > shared_size or own then
    return ffi_new(bytes, n)
  end
  if not shared then
    shared = ffi_new(bytes, shared_size)
  end
  return shared
end

function base.get_string_buf_size()
  return shared_size
end

function base.set_string_buf_size(n)
  if n <= 0 then
    return
  end
  shared, shared_size = nil, ceil(n)
end

-- The request as an opaque pointer; nil where there is none.
local pointer = ffi.typeof("void *")

function base.get_request()
  local slot = vm.slot
  if slot.phase == INIT then
    return nil
  end
  return ffi_cast(pointer, slot)
end

-- Keeps value in t under an integer that is free, and returns it. t[0] heads
-- the list of free ones, as luaL_unref would leave it.
function base.ref_in_table(t, value)
  if value == nil then
    return -1
  end
  local ref = t[0]
  if ref and ref ~= 0 then
    t[0] = t[ref]
  else
    ref = #t + 1
  end
  t[ref] = value
  return ref
end

function base.allows_subsystem(...)
  for i = 1, select("#", ...) do
    if select(i, ...) == "http" then
      return
    end
  end
  error("unsupported subsystem: http", 2)
end

return base
