-- What the host asks a spec's VM for while a test waits, by verb.

return {
  stub = require "perigee.spec.upstream".answer,
  speak = require "perigee.spec.server".speak,
}
