-- ngx.re on PCRE2 (shim/regex.c), and resty.core.regex, whose functions these
-- are in OpenResty. The module ngx.re is in re_split.lua.

local P = ...

local ffi = require "ffi"
local bit = require "bit"
local new_table = require "table.new"

local C = ffi.C
local ffi_gc, ffi_string, ffi_new = ffi.gc, ffi.string, ffi.new
local band, bor, lshift = bit.band, bit.bor, bit.lshift
local error, setmetatable, tonumber, tostring, type = error, setmetatable,
  tonumber, tostring, type
local byte, char, format, sub = string.byte, string.char, string.format,
  string.sub
local concat, floor, max = table.concat, math.floor, math.max
local collect_garbage = collectgarbage

local vm, ngx = P.vm, P.ngx
local log, ERR = P.core.log, 4

local c_compile, c_destroy, c_exec, c_sub = P.regex.compile, P.regex.destroy,
  P.regex.exec, P.regex.sub

local ONCE, DUPNAMES, UTF = C.PG_REGEX_ONCE, C.PG_REGEX_DUPNAMES,
  C.PG_REGEX_UTF
local NOMATCH, STOPPED, MEMORY = C.PG_REGEX_NOMATCH, C.PG_REGEX_STOPPED,
  C.PG_REGEX_MEMORY

local out = ffi_new("pg_regex_out[1]")

-- ---- options ----

local letters = {
  a = C.PG_REGEX_ANCHORED, d = C.PG_REGEX_DFA, D = DUPNAMES,
  i = C.PG_REGEX_CASELESS, j = C.PG_REGEX_JIT, J = C.PG_REGEX_JAVASCRIPT,
  m = C.PG_REGEX_MULTILINE, o = ONCE, s = C.PG_REGEX_DOTALL, u = UTF,
  U = bor(UTF, C.PG_REGEX_ANY_BYTES), x = C.PG_REGEX_EXTENDED,
}

-- Flags by options. Scripts write few different ones; a made-up variety is
-- forgotten.
local known, known_n = {[""] = 0}, 0
local KNOWN_MAX = 256

-- level: of the script's own line, for an error
local function flags_of(opts, level)
  local flags = 0
  for i = 1, #opts do
    local letter = char(byte(opts, i))
    local flag = letters[letter]
    if not flag then
      error(format('unknown flag "%s" (flags "%s")', letter, opts), level + 1)
    end
    flags = bor(flags, flag)
  end
  if known_n >= KNOWN_MAX then
    known, known_n = {[""] = 0}, 0
  end
  known[opts] = flags
  known_n = known_n + 1
  return flags
end

-- ---- compiled patterns ----

-- Two generations instead of a list by age: what is used moves to the young
-- one; when that is full the old one is dropped and becomes the young one's
-- place. Both are tables by flags, then by pattern.
local young, old, young_n = {}, {}, 0
local half = max(0, floor((tonumber(P.regex_cache) + 1) / 2))
local any_kept = false

P.regex.match_limit(vm, tonumber(P.regex_limit))

local function keep(regex, flags, compiled)
  if young_n >= half then
    old, young, young_n = young, {}, 0
  end
  local same = young[flags]
  if not same then
    same = {}
    young[flags] = same
  end
  same[regex] = compiled
  young_n = young_n + 1
  any_kept = true
end

local function kept(regex, flags)
  local same = young[flags]
  local compiled = same and same[regex]
  if compiled then
    return compiled
  end
  same = old[flags]
  compiled = same and same[regex]
  if compiled then
    same[regex] = nil
    keep(regex, flags, compiled)
  end
  return compiled
end

-- compiled, whether it is kept, flags; or nil and the error's text. level: see
-- flags_of.
local function compile_at(regex, opts, level)
  local flags = 0
  if opts then
    flags = known[opts] or flags_of(opts, level + 1)
  end
  local once = half > 0 and band(flags, ONCE) ~= 0
  if once then
    local compiled = kept(regex, flags)
    if compiled then
      return compiled, true, flags
    end
  end
  local compiled = c_compile(vm, regex, #regex, flags, out)
  if compiled == nil and out[0].count == 1 then
    collect_garbage()                    -- patterns nobody holds any more
    compiled = c_compile(vm, regex, #regex, flags, out)
    if compiled == nil and out[0].count == 1 then
      error("not enough memory", 0)
    end
  end
  if compiled == nil then
    return nil, ffi_string(out[0].p, out[0].n)
  end
  ffi_gc(compiled, c_destroy)
  if once then
    keep(regex, flags, compiled)
  end
  return compiled, once, flags
end

local function destroy(compiled)
  c_destroy(ffi_gc(compiled, nil))
end

-- The text of a failed match. The watchdog's own error comes from here too.
local function failure(rc)
  if rc == STOPPED then
    error("execution time limit exceeded", 3)
  elseif rc == MEMORY then
    error("not enough memory", 0)
  end
  return "pcre_exec() failed: " .. rc
end

-- ---- captures ----

local function name_captures(compiled, flags, res)
  local names, size = compiled.name_table, compiled.name_entry_size
  local duplicates = band(flags, DUPNAMES) ~= 0
  local at = 0
  for _ = 1, compiled.name_count do
    local capture = res[bor(lshift(names[at], 8), names[at + 1])]
    local name = ffi_string(names + at + 2)
    if not duplicates then
      res[name] = capture
    elseif capture then                  -- unmatched ones are not listed
      local list = res[name]
      if list then
        list[#list + 1] = capture
      else
        res[name] = {capture}
      end
    end
    at = at + size
  end
end

-- The table of ngx.re.match; res: one to fill instead of a new one.
local function captures_of(compiled, subj, flags, res)
  local n, at = compiled.ncaptures, compiled.captures
  if not res then
    res = new_table(n, compiled.name_count + 1)
  end
  for i = 0, n do
    local from = at[2 * i]
    res[i] = from >= 0 and sub(subj, from + 1, at[2 * i + 1])
  end
  if compiled.name_count > 0 then
    name_captures(compiled, flags, res)
  end
  return res
end

local function start_of(ctx)
  local pos = ctx.pos
  if not pos or pos <= 0 then
    return 0
  end
  return pos - 1
end

-- Where the search for the next match goes on; pos: where it began for this
-- one. A \K in a lookbehind can end a match in front of that.
local function after(flags, subj, pos, from, to)
  if from < to and to > pos then
    return to
  end
  to = to + 1
  if band(flags, UTF) ~= 0 then
    local b = byte(subj, to + 1)
    while b and b >= 0x80 and b < 0xC0 do
      to = to + 1
      b = byte(subj, to + 1)
    end
  end
  return to
end

-- ---- ngx.re ----

local re = {}

ngx.re = re

function re.match(subj, regex, opts, ctx, res)
  subj = tostring(subj)
  local compiled, once, flags = compile_at(regex, opts, 2)
  if not compiled then
    return nil, once
  end
  local rc = c_exec(compiled, subj, #subj, ctx and start_of(ctx) or 0)
  if rc >= 0 then
    if ctx then
      ctx.pos = compiled.captures[1] + 1
    end
    res = captures_of(compiled, subj, flags, res)
    if not once then
      destroy(compiled)
    end
    return res
  end
  if not once then
    destroy(compiled)
  end
  if rc == NOMATCH then
    return nil
  end
  return nil, failure(rc)
end

function re.find(subj, regex, opts, ctx, nth)
  subj = tostring(subj)
  local compiled, once = compile_at(regex, opts, 2)
  if not compiled then
    return nil, nil, once
  end
  local rc = c_exec(compiled, subj, #subj, ctx and start_of(ctx) or 0)
  if rc < 0 then
    if not once then
      destroy(compiled)
    end
    if rc == NOMATCH then
      return nil
    end
    return nil, nil, failure(rc)
  end
  local at, groups = compiled.captures, compiled.ncaptures
  if ctx then
    ctx.pos = at[1] + 1
  end
  nth = nth and nth > 0 and nth or 0
  local from, to = -1, -1
  if nth <= groups then
    from, to = at[2 * nth], at[2 * nth + 1]
  end
  if not once then
    destroy(compiled)
  end
  if nth > groups then
    return nil, nil, "nth out of bound"
  elseif from < 0 then
    return nil, nil
  end
  return from + 1, to
end

local function finish(self)
  if not self.once then
    destroy(self.compiled)
  end
  self.compiled, self.subj, self.pos = nil, nil, nil
end

local iterator = {}

function iterator.__call(self)
  local pos = self.pos
  if not pos then
    return nil
  end
  local compiled, subj, flags = self.compiled, self.subj, self.flags
  local rc = c_exec(compiled, subj, #subj, pos)
  if rc < 0 then
    finish(self)
    if rc == NOMATCH then
      return nil
    end
    return nil, failure(rc)
  end
  local at = compiled.captures
  pos = after(flags, subj, pos, at[0], at[1])
  local res = captures_of(compiled, subj, flags)
  if pos > #subj then
    finish(self)
  else
    self.pos = pos
  end
  return res
end

function re.gmatch(subj, regex, opts)
  subj = tostring(subj)
  local compiled, once, flags = compile_at(regex, opts, 2)
  if not compiled then
    return nil, once
  end
  return setmetatable({
    compiled = compiled, once = once, flags = flags, subj = subj, pos = 0,
  }, iterator)
end

-- With a function. It may wait, and use this very pattern: what the match gave
-- is read before it is called.
local function sub_by(replace, subj, compiled, flags, all)
  local parts, n, count, pos, done = {}, 0, 0, 0, 0
  repeat
    local rc = c_exec(compiled, subj, #subj, pos)
    if rc < 0 then
      if rc == NOMATCH then
        break
      end
      return nil, nil, failure(rc)
    end
    local from, to = compiled.captures[0], compiled.captures[1]
    local piece = tostring(replace(captures_of(compiled, subj, flags)))
    count = count + 1
    if from > done then
      n = n + 1
      parts[n] = sub(subj, done + 1, from)
    end
    n = n + 1
    parts[n] = piece
    done = max(done, to)
    pos = after(flags, subj, pos, from, to)
  until not all or pos > #subj
  if count == 0 then
    return subj, 0
  end
  parts[n + 1] = sub(subj, done + 1)
  return concat(parts, "", 1, n + 1), count
end

local complaints = {
  [C.PG_REGEX_BAD_VARIABLE] =
    'lua script: invalid capturing variable name found in "%s"',
  [C.PG_REGEX_OPEN_BRACKET] =
    'the closing bracket in "%s" variable is missing',
  [C.PG_REGEX_NAMED_VARIABLE] = 'attempt to use named capturing variable '
    .. '"%s" (named captures not supported yet)',
}

local function sub_failure(rc, text)
  local complaint = complaints[rc]
  if not complaint then
    return failure(rc)
  end
  if rc ~= C.PG_REGEX_BAD_VARIABLE then
    text = ffi_string(out[0].p, out[0].n)
  end
  local line = format(complaint, text)
  log(vm, ERR, line, #line)
  return "failed to compile the replacement template"
end

local function sub_with(text, subj, compiled, all)
  local rc = c_sub(compiled, subj, #subj, text, #text, all and 1 or 0, out)
  if rc < 0 then
    return nil, nil, sub_failure(rc, text)
  end
  local count = out[0].count
  if count == 0 then
    return subj, 0
  end
  return ffi_string(out[0].p, out[0].n), count
end

-- Two results, or nil, nil and an error. The frames up to the script are
-- counted: no tail call leads here.
local function substitute(subj, regex, replace, opts, all)
  local compiled, once, flags = compile_at(regex, opts, 3)
  if not compiled then
    return nil, nil, once
  end
  subj = tostring(subj)
  local result, count, err
  if type(replace) == "function" then
    result, count, err = sub_by(replace, subj, compiled, flags, all)
  else
    result, count, err = sub_with(tostring(replace), subj, compiled, all)
  end
  if not once then
    destroy(compiled)
  end
  return result, count, err
end

function re.sub(subj, regex, replace, opts)
  local result, count, err = substitute(subj, regex, replace, opts, false)
  if err then
    return nil, nil, err
  end
  return result, count
end

function re.gsub(subj, regex, replace, opts)
  local result, count, err = substitute(subj, regex, replace, opts, true)
  if err then
    return nil, nil, err
  end
  return result, count
end

-- ---- resty.core.regex ----

local core = {version = P.resty_core_version}

function core.re_match_compile(regex, opts)
  local compiled, once, flags = compile_at(regex, opts, 2)
  if not compiled then
    return nil, once
  end
  return compiled, once, flags
end

core.destroy_compiled_regex = destroy

-- rc: what the match answered; here unmatched groups are marked anyhow
function core.collect_captures(compiled, _, subj, flags, res)
  return captures_of(compiled, subj, flags, res)
end

function core.is_regex_cache_empty()
  return not any_kept
end

function P.regex_any_kept()
  return any_kept
end

P.regex_compile, P.regex_destroy = compile_at, destroy
P.regex_after, P.regex_failure = after, failure
package.preload["resty.core.regex"] = function()
  return core
end
