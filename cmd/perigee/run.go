package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perigee/proxy"
	"perigee/proxy/admin"
	"perigee/proxy/config"
	"perigee/proxy/observe"
	"perigee/proxy/sockets"
)

// run serves a configuration until a signal ends it.
func run(args []string, _, errs io.Writer) int {
	flags := newFlags("run", errs)
	path := flags.String("c", "", "the configuration `FILE`")
	watch := flags.Bool("watch", false, "reload when the file or a script of it changes")
	good := flags.String("last-good", "", "keep the configuration that runs in this `FILE`, and start with it when the one of -c is broken")
	if flags.Parse(args) != nil || flags.NArg() > 0 || *path == "" {
		flags.Usage()
		return exitUsage
	}
	inherited, err := sockets.Inherited()
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	p, err := startOrLastGood(origin{
		load:      func() (*config.File, error) { return config.Load(*path) },
		lastGood:  *good,
		inherited: inherited,
	})
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	p.began()
	if *watch {
		go p.watch()
	}
	return p.wait()
}

// origin is where a process has its configuration and sockets from.
type origin struct {
	load      func() (*config.File, error)
	lastGood  string       // a file; "": none is kept
	inherited *sockets.Set // nil: none
}

// process is a running gateway with its admin listener and its log.
type process struct {
	*proxy.Server
	origin
	log   *observe.Log
	admin *admin.Server
	ended chan struct{}
	// signals are taken from before the first connection on.
	signals chan os.Signal
}

func start(file *config.File, from origin) (*process, error) {
	level, err := observe.ParseLevel(string(file.Log.Level))
	if err != nil {
		return nil, err
	}
	log, err := observe.OpenLog(observe.LogOptions{File: file.Log.File, Level: level})
	if err != nil {
		return nil, err
	}
	state := proxy.NewState(buildInfo(), log)
	state.Sockets = from.inherited
	server, err := proxy.NewServer(state)
	if err != nil {
		return nil, err
	}
	p := &process{
		Server: server, log: log, origin: from,
		ended: make(chan struct{}), signals: make(chan os.Signal, 4),
	}
	signal.Notify(p.signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGUSR2)
	// The doors open first: they say "starting" until the gateway is ready. A
	// successor's stay closed until then: its predecessor answers "ready".
	doors := func() error { return p.openDoors(file) }
	apply := func() error { return server.Apply(file) }
	steps := []func() error{doors, apply}
	if from.inherited.Successor() {
		steps = []func() error{apply, doors}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			p.end()
			return nil, err
		}
	}
	for address, bound := range server.Addresses() {
		log.Print(observe.LevelNotice, nil, "listening on "+bound.String()+" ("+address+")")
	}
	log.Print(observe.LevelNotice, nil, "configuration "+file.Digest()+" applied")
	return p, nil
}

// openDoors opens the admin listener.
func (p *process) openDoors(file *config.File) (err error) {
	if file.Admin.Off() {
		return nil
	}
	p.admin, err = admin.Start(admin.Options{
		Address: file.Admin.Address, Probes: file.Admin.Probes, Log: p.log.Slog(),
		Listen: func(address string) (net.Listener, error) {
			if ln, err := p.inherited.Take(address); ln != nil || err != nil {
				return ln, err
			}
			return net.Listen("tcp", address)
		},
	}, p)
	if err != nil {
		return file.NewError("admin", err.Error(), "choose a free address, or off")
	}
	return nil
}

// began tells everybody that the gateway serves.
func (p *process) began() {
	for _, address := range p.inherited.Rest() {
		p.log.Print(observe.LevelWarn, nil, "an inherited socket at "+address+" is no listener's address and is closed")
	}
	forgetStart()
	p.warn(p.inherited.Announce())
	p.warn(sockets.Notify("READY=1\nMAINPID=" + strconv.Itoa(os.Getpid())))
}

// warn logs what is no reason to end.
func (p *process) warn(err error) {
	if err != nil {
		p.log.Print(observe.LevelWarn, nil, err.Error())
	}
}

// Reload applies the configuration as it is on disk now. On error the running
// one stays.
func (p *process) Reload(context.Context) error {
	file, err := p.load()
	if err == nil {
		err = p.Apply(file)
	}
	if err != nil {
		p.Reloaded("refused")
		p.log.Print(observe.LevelError, nil, "reload refused, the running configuration stays: "+err.Error())
		return err
	}
	p.Reloaded("applied")
	p.keep(file)
	forgetStart()
	p.log.Print(observe.LevelNotice, nil, "configuration "+file.Digest()+" applied")
	return nil
}

// watchInterval is how often -watch looks at the files. Looking at content, not
// at events, sees every way a file can be replaced: in place, by rename, by the
// symbolic links of a ConfigMap.
const watchInterval = time.Second

func (p *process) watch() {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	seen := ""
	for {
		select {
		case <-p.ended:
			return
		case <-ticker.C:
		}
		file, err := p.load()
		now := ""
		if err != nil {
			now = err.Error()
		} else {
			now = file.Digest() + certificates(file)
		}
		first := seen == ""
		if now == seen || first && err == nil && file.Digest() == p.Digest() {
			seen = now
			continue
		}
		seen = now
		_ = p.Reload(context.Background())
	}
}

// certificates tells by size and time of its files whether a certificate has
// been replaced: their content is no part of the configuration's digest.
func certificates(file *config.File) string {
	var b strings.Builder
	for _, l := range file.Listeners {
		if l.TLS == nil {
			continue
		}
		for _, c := range l.TLS.Certificates {
			for _, path := range []string{c.Cert, c.Key} {
				if info, err := os.Stat(path); err == nil {
					fmt.Fprintf(&b, " %s %d %d", path, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
	}
	return b.String()
}

// wait serves until SIGTERM or SIGINT has drained the gateway; a second one ends
// it at once.
func (p *process) wait() int {
	defer signal.Stop(p.signals)
	for s := range p.signals {
		switch s {
		case syscall.SIGHUP:
			_ = p.Reload(context.Background())
		case syscall.SIGUSR1:
			p.Reopen()
		case syscall.SIGUSR2:
			if p.handOver() {
				return exitOK
			}
		default:
			p.log.Print(observe.LevelNotice, nil, "draining")
			p.warn(sockets.Notify("STOPPING=1"))
			return p.drain(p.Drain)
		}
	}
	return exitOK
}

// drain ends by a function that a second signal cuts short.
func (p *process) drain(by func(context.Context) error) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for s := range p.signals {
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				cancel()
			}
		}
	}()
	if err := by(ctx); err != nil {
		p.log.Print(observe.LevelWarn, nil, "drain cut short: "+err.Error())
	}
	p.end()
	return exitOK
}

// end closes what is open, the log last.
func (p *process) end() {
	close(p.ended)
	p.closeDoors()
	p.Close()
	_ = p.log.Close(time.Second)
}

func (p *process) closeDoors() {
	if p.admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.admin.Close(ctx)
	p.admin = nil
}
