package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"

	"perigee/proxy/observe"

	"github.com/goccy/go-json"
)

// DigestHeader carries the running configuration's digest in answers of /config,
// /readyz and /reload.
const DigestHeader = "Config-Digest"

// reloadTimeout bounds how long /reload waits for its answer: compiling and
// warming many scripts takes a while.
const reloadTimeout = 2 * time.Minute

// doors are the handlers.
type doors struct {
	gateway Gateway
	log     *slog.Logger
}

// probes are the doors of both listeners.
func (d *doors) probes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.HandleFunc("GET /metrics", d.metrics)
	return mux
}

// full are the doors of the full listener.
func (d *doors) full() *http.ServeMux {
	mux := d.probes()
	mux.HandleFunc("GET /{$}", d.page)
	mux.HandleFunc("GET /config", d.config)
	mux.HandleFunc("GET /routes", d.routes)
	mux.HandleFunc("GET /upstreams", d.upstreams)
	mux.HandleFunc("GET /lua", d.lua)
	mux.HandleFunc("GET /limits", d.limits)
	mux.HandleFunc("POST /limits/reset", d.resetLimit)
	mux.HandleFunc("POST /reload", d.reload)
	mux.HandleFunc("GET /debug/pprof/", timed(0, pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/profile", timed(30*time.Second, pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", timed(time.Second, pprof.Trace))
	return mux
}

// timed gives a profile the time that its "seconds" asks for, or usual.
func timed(usual time.Duration, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		length := usual
		if s, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64); err == nil && s > 0 && s <= time.Hour.Seconds() {
			length = time.Duration(s * float64(time.Second))
		}
		setAnswerDeadline(w, length+answerTimeout)
		next(w, r)
	}
}

func (d *doors) healthz(w http.ResponseWriter, _ *http.Request) {
	d.text(w, http.StatusOK, "ok\n")
}

func (d *doors) readyz(w http.ResponseWriter, _ *http.Request) {
	ready, why := d.gateway.Ready()
	digest := d.gateway.Digest()
	setDigest(w, digest)
	tail := ""
	if digest != "" {
		tail = "config " + digest + "\n"
	}
	if ready {
		d.text(w, http.StatusOK, "ready\n"+tail)
		return
	}
	d.text(w, http.StatusServiceUnavailable, "not ready: "+why+"\n"+tail)
}

func (d *doors) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", observe.ContentType)
	d.failed(d.gateway.WriteMetrics(w))
}

func (d *doors) config(w http.ResponseWriter, _ *http.Request) {
	masked, err := d.gateway.Config()
	switch {
	case err != nil:
		d.log.Error("configuration cannot be shown", "error", err)
		http.Error(w, "the configuration cannot be shown; the log says why", http.StatusInternalServerError)
	case len(masked) == 0:
		d.text(w, http.StatusServiceUnavailable, "no configuration runs yet\n")
	default:
		setDigest(w, d.gateway.Digest())
		w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
		_, err = w.Write(masked)
		d.failed(err)
	}
}

func (d *doors) routes(w http.ResponseWriter, _ *http.Request) {
	list(d, w, d.gateway.Routes())
}

func (d *doors) upstreams(w http.ResponseWriter, _ *http.Request) {
	ups := slices.Clone(d.gateway.Upstreams())
	for i := range ups {
		ups[i].Endpoints = filled(ups[i].Endpoints)
	}
	list(d, w, ups)
}

func (d *doors) lua(w http.ResponseWriter, _ *http.Request) {
	info := d.gateway.Lua()
	info.VMs, info.Dicts = filled(info.VMs), filled(info.Dicts)
	info.Scripts = slowestFirst(info.Scripts)
	d.json(w, info)
}

// slowestFirst sorts a copy by what a run may take, then by what all took.
func slowestFirst(scripts []observe.ScriptInfo) []observe.ScriptInfo {
	sorted := filled(slices.Clone(scripts))
	slices.SortStableFunc(sorted, func(a, b observe.ScriptInfo) int {
		return cmp.Or(cmp.Compare(b.P99Seconds, a.P99Seconds), cmp.Compare(b.TotalSeconds, a.TotalSeconds))
	})
	return sorted
}

// reload answers 200 with the digest that runs now, 409 when the reload could
// not start, 422 with the configuration's problems; then the old one goes on.
func (d *doors) reload(w http.ResponseWriter, r *http.Request) {
	setAnswerDeadline(w, reloadTimeout+answerTimeout)
	// An operator who hangs up does not stop a reload halfway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reloadTimeout)
	defer cancel()
	err := d.gateway.Reload(ctx)
	digest := d.gateway.Digest()
	setDigest(w, digest)
	switch {
	case err == nil:
		d.text(w, http.StatusOK, "reloaded\nconfig "+digest+"\n")
	case errors.Is(err, observe.ErrReloading):
		d.text(w, http.StatusConflict, err.Error()+"\n")
	default:
		d.text(w, http.StatusUnprocessableEntity, fmt.Sprintf("not reloaded, the running configuration stays:\n%v\n", err))
	}
}

func setDigest(w http.ResponseWriter, digest string) {
	if digest != "" {
		w.Header().Set(DigestHeader, digest)
	}
}

// list answers with a JSON array, [] for none.
func list[T any](d *doors, w http.ResponseWriter, items []T) { d.json(w, filled(items)) }

// filled makes nil an empty slice, which is [] in JSON and not null.
func filled[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func (d *doors) json(w http.ResponseWriter, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		d.log.Error("status cannot be shown", "error", err)
		http.Error(w, "status cannot be shown; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(body, '\n'))
	d.failed(err)
}

func (d *doors) text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write([]byte(body))
	d.failed(err)
}

// failed notes that an answer did not reach its reader, at debug: scrapers that
// time out are everyday.
func (d *doors) failed(err error) {
	if err != nil {
		d.log.Debug("admin answer not delivered", "error", err)
	}
}
