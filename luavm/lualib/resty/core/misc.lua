-- resty.core.misc: fields of ngx that are computed, such as ngx.ctx.

local P = ...

local getters, setters = P.getters, P.setters

return {
  _VERSION = P.resty_core_version,

  register_ngx_magic_key_getter = function(key, get)
    getters[key] = get
  end,
  register_ngx_magic_key_setter = function(key, set)
    setters[key] = set
  end,
}
