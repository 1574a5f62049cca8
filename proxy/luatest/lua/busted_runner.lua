-- require "busted.runner"() lets busted's specs run themselves. Here they are
-- run already.

return function() end
