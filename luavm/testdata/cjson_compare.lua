-- Compares the cjson that is linked into the program with the distribution's
-- own cjson.so. Answers what checks an input, by name; a check answers "same",
-- or what differs.
local ffi = require "ffi"
local quick = require "cjson"
local checks = {}

-- Instances of both with the same settings.
local function configured(stock, settings)
  local pair = { quick = quick.new(), stock = stock.new() }
  for name, value in pairs(settings) do
    local args = type(value) == "table" and value or { value }
    pair.quick[name](unpack(args))
    pair.stock[name](unpack(args))
  end
  return pair
end

local function instances(stock)
  return {
    configured(stock, {}),
    configured(stock, {
      decode_invalid_numbers = false, decode_max_depth = 5,
      encode_invalid_numbers = "null", encode_number_precision = 3,
      encode_max_depth = 4, encode_sparse_array = { true, 2, 3 },
      encode_keep_buffer = false,
    }),
    configured(stock, {
      encode_invalid_numbers = true, encode_number_precision = 9,
      encode_sparse_array = { false, 0, 0 },
    }),
    configured(stock, { decode_max_depth = 1e6, encode_max_depth = 1e6 }),
  }
end

local function show(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) == "number" then return ("%.17g"):format(v) end
  return tostring(v)
end

-- The first difference of two values, or nil.
local function difference(a, b)
  if type(a) == "table" and type(b) == "table" then
    for k, v in pairs(a) do
      local d = difference(v, b[k])
      if d then return "[" .. show(k) .. "]" .. d end
    end
    for k in pairs(b) do
      if a[k] == nil then return "[" .. show(k) .. "] is missing" end
    end
    if #a ~= #b then return " has other lengths" end
    return nil
  end
  if a ~= a and b ~= b then return nil end
  -- 0 and -0 are equal but for their reciprocals.
  if rawequal(a, b) and (a ~= 0 or 1 / a == 1 / b) then return nil end
  return (": %s, stock has %s"):format(show(a), show(b))
end

local function compare_call(pair, name, value)
  local ok, got = pcall(pair.quick[name], value)
  local stock_ok, want = pcall(pair.stock[name], value)
  local d = ok ~= stock_ok and (": %s %s, stock has %s %s"):format(
    tostring(ok), show(got), tostring(stock_ok), show(want))
    or difference(got, want)
  return d and name .. d, ok and got or nil
end

-- What both make of a value, and of what they decode from it.
local function compare_all(list, name, value)
  for i, pair in ipairs(list) do
    local d, got = compare_call(pair, name, value)
    if not d and name == "decode" and got ~= nil then
      d = compare_call(pair, "encode", got)
    end
    if d then return ("instance %d: %s"):format(i, d) end
  end
end

function checks.texts(stock)
  local list = instances(stock)
  return function(text)
    return compare_all(list, "decode", text)
      or compare_all(list, "encode", text)
      or compare_all(list, "encode", { [text] = { text } })
      or "same"
  end
end

-- The input is doubles, none of them NaN.
function checks.numbers(stock)
  local list = {}
  for precision = 1, 14 do
    list[precision] =
      configured(stock, { encode_number_precision = precision })
  end
  return function(bytes)
    local doubles = ffi.cast("const double *", bytes)
    for i = 0, #bytes / 8 - 1 do
      local n = doubles[i]
      for _, precision in ipairs { 14, i % 14 + 1 } do
        local d, text = compare_call(list[precision], "encode", { n })
        d = d or text and compare_call(list[precision], "decode", text)
        if d then return ("%.17g, %d: %s"):format(n, precision, d) end
      end
      local text = ("[%.17g,%.15g,%f]"):format(n, n, n)
      local d = compare_call(list[14], "decode", text)
      if d then return text .. ": " .. d end
    end
    return "same"
  end
end

local function nested(depth)
  local t = {}
  for _ = 2, depth do t = { k = t } end
  return t
end

-- Values that no text decodes to.
local function values()
  local huge, nan = math.huge, 0 / 0
  local list = {
    {}, { {} }, { [1] = 1, [3] = 3 }, { [10] = 1 }, { [11] = 1 },
    { [5] = 1, x = 2 }, { [0] = 1 }, { [-1] = 1 }, { [1.5] = 1 },
    { [1e15] = 1 }, { [huge] = 1 }, { [-huge] = 1 }, { [true] = 1 },
    { [{}] = 1 }, { [print] = 1 }, { 1, 2, nil, 4 }, { 1, nil, nil, nil, 5 },
    { huge }, { -huge }, { nan }, -nan, huge, -0, { -0 }, { k = -0 },
    ngx.null, quick.null, { ngx.null }, print, { print }, io.stdout,
    coroutine.create(print), true, false, { true, false },
    nested(3), nested(4), nested(5), nested(1000), nested(1001),
    nested(2700), nested(4100), nested(8100),
  }
  for length = 0, 40 do
    local plain = ("x"):rep(length)
    list[#list + 1] = plain
    for at = 1, length do
      for _, c in ipairs { '"', "\\", "/", "\0", "\n", "\127", "\31",
        "\32", "\128", "\255" } do
        list[#list + 1] = plain:sub(1, at - 1) .. c .. plain:sub(at + 1)
      end
    end
  end
  for byte = 0, 255 do list[#list + 1] = string.char(byte) end
  return list
end

function checks.values(stock)
  local list = instances(stock)
  return function()
    for _, value in ipairs(values()) do
      local d = compare_all(list, "encode", value)
      if d then return show(value) .. ": " .. d end
    end
    for _, name in ipairs { "encode", "decode" } do
      local _, got = pcall(quick[name])
      local _, want = pcall(stock[name])
      if got ~= want then return got .. ", stock has " .. want end
    end
    return "same"
  end
end

local loaded = {}

return function(name, path)
  if not loaded[name] then
    local open = assert(package.loadlib(path, "luaopen_cjson"))
    loaded[name] = checks[name](open())
  end
  return loaded[name]
end
