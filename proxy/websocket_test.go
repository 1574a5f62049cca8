package proxy_test

import (
	"os"
	"strings"
	"testing"

	"perigee/proxy/proxytest"
)

const websocketRoutes = `
  - name: server
    match: {paths: ["= /server"]}
    lua:
      content: |
        local ws, err = require "nginx.websocket.server":new({timeout = 3000, max_payload_len = 100000})
        if not ws then ngx.log(ngx.ERR, "no websocket: ", err) return ngx.exit(444) end
        while true do
          local data, kind, err = ws:recv_frame()
          if ws.fatal then return end
          if kind == "close" then return ws:send_close(1000, "bye") end
          if kind == "ping" then ws:send_pong(data)
          elseif kind == "text" then ws:send_text(data:upper())
          elseif kind == "binary" then ws:send_binary(data:reverse()) end
        end
  - name: client
    match: {paths: ["= /client"]}
    lua:
      content: |
        local c = require "nginx.websocket.client":new({max_payload_len = 100000})
        assert(c:connect("ws://127.0.0.1:" .. ngx.var.server_port .. "/server"))
        c:send_text("hello") ngx.say(c:recv_frame())
        c:send_binary("abc\0d") ngx.say((c:recv_frame()):byte(1, -1))
        c:send_ping("still there?") ngx.say(c:recv_frame())
        local long = ("x"):rep(70000)
        c:send_text(long) ngx.say(c:recv_frame() == long:upper())
        c:send_close(1000, "enough") ngx.say(c:recv_frame())
        ngx.say(c:close())
`

// Debian's WebSocket library, both its sides in one gateway.
func TestWebSocketLibrary(t *testing.T) {
	if _, err := os.Stat("/usr/share/lua/5.1/nginx/websocket/server.lua"); err != nil {
		t.Skipf("lua-nginx-websocket is not installed (make deps-test): %v", err)
	}
	g := proxytest.Start(t, strings.Replace(configText("127.0.0.1:1", websocketRoutes),
		"lua: {", `lua: {path: "/usr/share/lua/5.1/?.lua", `, 1))
	for range 3 {
		a := g.Do("GET", "/client", "")
		want := "HELLOtextnil\n1000999897\nstill there?pongnil\ntrue\nbyeclose1000\n1\n"
		if a.Body != want {
			t.Fatalf("%d: got %q, want %q\n%s", a.StatusCode, a.Body, want, g.Log)
		}
	}
}
