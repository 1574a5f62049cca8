-- The module ngx.re: split and opt.

local P = ...

local error, tostring, type = error, tostring, type
local max, min = math.max, math.min
local sub = string.sub
local C = require "ffi".C
local new_table = require "table.new"

local vm = P.vm
local compile, destroy = P.regex_compile, P.regex_destroy
local after, failure = P.regex_after, P.regex_failure
local c_exec, jit_stack = P.regex.exec, P.regex.jit_stack
local NOMATCH = C.PG_REGEX_NOMATCH

local M = {version = P.resty_core_version}

-- The pieces between matches into res, at most most - 1 of them (0: all), and
-- the first group of each match behind its piece. An empty match splits
-- between characters, never in front of the first one. Returns how many values
-- there are, and the 1-based start of what is left; or nil and an error.
-- ctx.pos is left as OpenResty leaves it: bytes in front of the next match.
local function pieces(subj, compiled, flags, ctx, most, res)
  local len, start = #subj, ctx.pos
  local pos = max(start - 1, 0)
  local n, count, empty = 0, 1, nil
  ctx.pos = start - 1
  local at = compiled.captures
  while most <= 0 or count < most do
    local rc = c_exec(compiled, subj, len, pos)
    if rc == NOMATCH then
      break
    elseif rc < 0 then
      return nil, failure(rc)
    end
    local from, to = at[0] + 1, at[1] + 1
    pos = after(flags, subj, pos, at[0], at[1])
    ctx.pos = pos
    if empty then
      start = empty
    end
    if from == to then
      empty = from
    end
    if from > start or not empty then
      count = count + 1
      n = n + 1
      res[n] = sub(subj, start, from - 1)
      if compiled.ncaptures > 0 and at[2] >= 0 then
        n = n + 1
        res[n] = sub(subj, at[2] + 1, at[3])
      end
      start = to
      if start > len then
        break
      end
    end
  end
  return n, start
end

-- Empty pieces at the end are dropped, unless their number is bounded.
local function trim(res, n)
  while n > 0 and res[n] == "" do
    res[n] = nil
    n = n - 1
  end
  return n
end

function M.split(subj, regex, opts, ctx, most, res)
  subj = tostring(subj)
  ctx = ctx or {pos = 1}
  ctx.pos = ctx.pos or 1
  most = most or 0
  if not res then
    res = new_table(most > 0 and min(4, most) or 4, 0)
  elseif type(res) ~= "table" then
    error("res is not a table", 2)
  end
  local len = #subj
  if ctx.pos > len then
    res[1] = nil
    return res
  end
  local compiled, once, flags = compile(regex, opts, 2)
  if not compiled then
    return nil, once
  end
  local n, start = pieces(subj, compiled, flags, ctx, most, res)
  if not once then
    destroy(compiled)
  end
  if not n then
    return nil, start
  end
  if most <= 0 and start > len then
    n = trim(res, n)
  else
    n = n + 1
    res[n] = sub(subj, start)
  end
  res[n + 1] = nil
  return res
end

-- The stack of compiled patterns is the thread's, 32 KiB of it, until a size
-- is set; what needs more fails with pcre_exec()'s -27.
function M.opt(option, value)
  if option ~= "jit_stack_size" then
    error("unrecognized option name", 2)
  end
  if P.regex_any_kept() then
    error("changing jit stack size is not allowed when some regexs have "
      .. "already been compiled and cached", 2)
  end
  if jit_stack(vm, value) ~= 0 then
    error("pcre jit stack allocation failed", 2)
  end
end

package.preload["ngx.re"] = function()
  return M
end
