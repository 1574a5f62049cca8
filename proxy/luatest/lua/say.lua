-- The texts of messages by key: say:set(key, text), say(key, {arguments}).

local format, tostring, unpack = string.format, tostring, unpack

local texts = {}
local say = {}

function say.set(_, key, text)
  texts[key] = text
end

-- There is one language; specs may name others.
function say.set_namespace() end
function say.set_fallback() end

return setmetatable(say, {
  __call = function(_, key, arguments)
    local text = texts[key] or key
    if not arguments then
      return text
    end
    local shown = {}
    for i = 1, arguments.n or #arguments do
      shown[i] = tostring(arguments[i])
    end
    local wanted = select(2, text:gsub("%%s", ""))
    for i = #shown + 1, wanted do
      shown[i] = "nil"
    end
    return format(text, unpack(shown, 1, wanted))
  end,
})
