-- resty.core.ctx: ngx.ctx as a function.

local P = ...

local get, set = P.getters.ctx, P.setters.ctx
local vm = P.vm

return {
  _VERSION = P.resty_core_version,

  -- given: the table to begin with where there is none yet
  get_ctx_table = function(given)
    if given and vm.slot.ctx_ref == 0 then
      set(given)
    end
    return get()
  end,
}
