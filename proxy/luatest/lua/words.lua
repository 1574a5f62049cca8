-- The table perigee of specs.

return {
  -- The path of a file that is named relative to the spec.
  path = function(name)
    return require "perigee.spec.spec".folder() .. name
  end,
  gateway = require "perigee.spec.gateway",
  upstream = require "perigee.spec.upstream",
  server = require "perigee.spec.server".new,
  redis = require "perigee.spec.server".redis,
  exchange = require "perigee.spec.exchange",
}
