-- What the host may ask of a spec's VM, by verb.

local spec = require "perigee.spec.spec"

return {
  collect = function(file) return spec.collect(file.path, file.code) end,
  select = spec.select,
  run = spec.run,
  after = spec.after,
}
