local P = ...

local find, gsub = string.find, string.gsub

return {
  version = P.resty_core_version,

  -- text with each byte `from` replaced by the byte `to`
  str_replace_char = function(text, from, to)
    if not find(text, from, 1, true) then
      return text
    end
    return (gsub(text, ".", {[from] = to}))
  end,
}
