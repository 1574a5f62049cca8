-- require "luassert": assert with all its words, for modules that are no spec.

require "luassert.assertions"
require "luassert.spy"
require "luassert.match"

return require "luassert.assert"
