package admin

import (
	"bytes"
	"html/template"
	"net/http"

	"perigee/proxy/observe"
)

// pageView is what the page for people shows.
type pageView struct {
	Ready     bool
	Why       string
	Digest    string
	Routes    []observe.RouteInfo
	Upstreams []observe.UpstreamInfo
	VMs       []observe.VMInfo
}

// pageText stands alone: no script, no asset from anywhere.
var pageText = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>perigee</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5rem }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right }
code { font-size: 90% }
.good { color: #06662a } .bad { color: #a30d0d }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } th, td { border-color: #444 }
a { color: #8ab4f8 } .good { color: #6fce8f } .bad { color: #ff8a80 } }
</style>
<h1>perigee</h1>
<p>{{if .Ready}}<b class="good">ready</b>{{else}}<b class="bad">not ready</b>: {{.Why}}{{end}}{{if .Digest}}
· configuration <code>{{.Digest}}</code>{{end}}</p>
<form method="post" action="/reload"><button>Reload the configuration</button></form>
<h2>Doors</h2>
<table>
<tr><td><a href="/healthz">/healthz</a></td><td>200 while the process lives</td></tr>
<tr><td><a href="/readyz">/readyz</a></td><td>200 when traffic may come, else 503 and why</td></tr>
<tr><td><a href="/metrics">/metrics</a></td><td>Prometheus text</td></tr>
<tr><td><a href="/config">/config</a></td><td>the running configuration, secrets masked</td></tr>
<tr><td><a href="/routes">/routes</a></td><td>routes and their filters</td></tr>
<tr><td><a href="/upstreams">/upstreams</a></td><td>endpoints and their health</td></tr>
<tr><td><a href="/limits">/limits</a></td><td>limits and their heaviest keys</td></tr>
<tr><td><a href="/lua">/lua</a></td><td>VMs, scripts (slowest first), shared dictionaries</td></tr>
<tr><td>POST /reload</td><td>read the configuration again and apply it whole or not at all</td></tr>
<tr><td><a href="/debug/pprof/">/debug/pprof/</a></td><td>profiles of the Go side</td></tr>
</table>
<h2>Routes</h2>
<table>
<tr><th>name<th>hosts<th>paths<th>upstream<th class="n">requests</tr>
{{range .Routes}}<tr><td>{{.Name}}<td>{{range .Hosts}}{{.}} {{end}}<td>{{range .Paths}}<code>{{.}}</code> {{end}}<td>{{.Upstream}}<td class="n">{{.Requests}}</tr>
{{end}}</table>
<h2>Endpoints</h2>
<table>
<tr><th>upstream<th>address<th>state<th class="n">in flight<th class="n">requests<th class="n">failures</tr>
{{range .Upstreams}}{{$up := .Name}}{{range .Endpoints}}<tr><td>{{$up}}<td>{{.Address}}<td>{{if .Healthy}}<span class="good">up</span>{{else}}<span class="bad">{{or .State "down"}}</span> {{.LastError}}{{end}}<td class="n">{{.InFlight}}<td class="n">{{.Requests}}<td class="n">{{.Failures}}</tr>
{{end}}{{end}}</table>
<h2>Lua VMs</h2>
<table>
<tr><th>worker<th>generation<th>state<th class="n">memory, bytes<th class="n">suspended<th class="n">runs</tr>
{{range .VMs}}<tr><td>{{.Worker}}<td>{{.Generation}}<td>{{.State}}<td class="n">{{.MemoryBytes}}<td class="n">{{.Suspended}}<td class="n">{{.Runs}}</tr>
{{end}}</table>
</html>
`))

func (d *doors) page(w http.ResponseWriter, _ *http.Request) {
	ready, why := d.gateway.Ready()
	var body bytes.Buffer
	err := pageText.Execute(&body, pageView{
		Ready: ready, Why: why, Digest: d.gateway.Digest(),
		Routes: d.gateway.Routes(), Upstreams: d.gateway.Upstreams(), VMs: d.gateway.Lua().VMs,
	})
	if err != nil {
		d.log.Error("page cannot be shown", "error", err)
		http.Error(w, "the page cannot be shown; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = body.WriteTo(w)
	d.failed(err)
}
