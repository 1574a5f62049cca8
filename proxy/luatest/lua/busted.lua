-- require "busted": the words of specs as fields.

return require "perigee.spec.spec".words
