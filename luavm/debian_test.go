//go:build cgo && luajit

package luavm

import (
	"os"
	"testing"
)

// Libraries of OpenResty as Debian packages them, unmodified. What they need of
// the host is named: without it a case fails, it is not left out.

// packaged are Lua files of Debian packages, for package.path.
const packaged = "/usr/share/lua/5.1/?.lua"

func needsFile(t *testing.T, pkg, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Skipf("%s is not installed (make deps-test): %v", pkg, err)
	}
}

func TestLRUCache(t *testing.T) {
	needsFile(t, "lua-resty-lrucache", "/usr/share/lua/5.1/resty/lrucache.lua")
	checkAnswers(t, Options{Path: packaged}, []answer{
		{"evicts", `
local c = require "resty.lrucache".new(2)
c:set("a", 1) c:set("b", {2}) c:get("a") c:set("c", 3)
ngx.print(c:get("a"), c:get("b"), c:get("c"), c:count(), c:capacity())`, "1nil322"},
		{"expires", `
local c = require "resty.lrucache".new(2)
c:set("a", 1, 0.01, 7)
ngx.print(c:get("a"))
local until_ = ngx.now() + 0.02
repeat ngx.update_time() until ngx.now() > until_
local v, stale, flags = c:get("a")
ngx.print(" ", v, stale, flags)
c:delete("a") c:flush_all()
ngx.print(" ", c:get("a"))`, "1nil7 nil17 nil"},
		{"pureffi", `
local c = require "resty.lrucache.pureffi".new(200)
for i = 1, 300 do c:set("k" .. i, i) end
ngx.print(c:get("k1"), c:get("k300"), c:count(), #c:get_keys(10))`, "nil30020010"},
		{"many keys, compiled", `
local c = require "resty.lrucache".new(1000)
local sum = 0
for round = 1, 20 do
  for i = 1, 1000 do
    local v = c:get(i)
    sum = sum + (v or 0)
    c:set(i, round)
  end
end
ngx.print(sum)`, "190000"},
	})
}

func TestNginxString(t *testing.T) {
	needsFile(t, "lua-nginx-string", "/usr/share/lua/5.1/nginx/string.lua")
	digest := func(name, want string) answer {
		return answer{name, `
local d = require "nginx.` + name + `":new()
d:update("hello ") d:update("world")
ngx.print(require "nginx.string".to_hex(d:final()))`, want}
	}
	checkAnswers(t, Options{Path: packaged}, []answer{
		{"string", `local s = require "nginx.string" ngx.print(s.to_hex("\1\255"), s.atoi("123"), s.atoi("x"))`, "01ff123-1"},
		digest("md5", "5eb63bbbe01eeed093cb22bb8f5acdc3"),
		digest("sha1", "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"),
		digest("sha224", "2f05477fc24bb4faefd86517156dafdecec45b8ad3cf2522a563582b"),
		digest("sha256", "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
		digest("sha384", "fdbd8e75a67f29f701a4e040385e2e23986303ea10239211af907fcbb83578b3e417cb71ce646efd0819dd8c088de1bd"),
		digest("sha512", "309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f"),
		{"aes", `
local aes, str = require "nginx.aes", require "nginx.string"
local a = aes:new("secret", nil, aes.cipher(256, "cbc"), aes.hash.sha256, 3)
local cipher = a:encrypt("attack at dawn")
ngx.print(#cipher, a:decrypt(cipher), " ", aes:new("other"):decrypt(cipher))
ngx.print(" ", str.to_hex(aes:new("0123456789abcdef", nil, aes.cipher(128, "ecb"), {iv = "0123456789abcdef"}):encrypt("x")))`,
			"16attack at dawn nil 28f8b322c9b9d956d86c90e292a87fa5"},
		{"random", `local r = require "nginx.random" ngx.print(#r.bytes(16), #r.bytes(16, true), r.bytes(8) ~= r.bytes(8))`, "1616true"},
	})
}

func TestNginxCookie(t *testing.T) {
	needsFile(t, "lua-nginx-cookie", "/usr/share/lua/5.1/nginx/cookie.lua")
	checkAnswers(t, Options{Path: packaged}, []answer{
		{"get", `
local c = require "nginx.cookie":new()
ngx.print(c:get("a"), c:get("b"), c:get("c"), c:get_all().b)`, "1twoniltwo"},
		{"set", `
local c = require "nginx.cookie":new()
for _, v in ipairs{"1", "2", "2", "3", "3"} do
  c:set({key = "s", value = v, path = "/", httponly = true})
end
ngx.print(table.concat(ngx.header["Set-Cookie"], " + "), c:set({}))`,
			`s=1; Path=/; HttpOnly + s=2; Path=/; HttpOnly + s=3; Path=/; HttpOnlynilmissing cookie field "key" or "value"`},
	})
}
