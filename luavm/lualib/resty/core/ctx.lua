-- resty.core.ctx: ngx.ctx as a function.

local P = ...

local get, set = P.getters.ctx, P.setters.ctx
local contexts, vm = P.contexts, P.vm

return {
  _VERSION = P.resty_core_version,

  -- given: the table to begin with where there is none yet
  get_ctx_table = function(given)
    if given and not contexts[vm.slot.id] then
      set(given)
    end
    return get()
  end,
}
