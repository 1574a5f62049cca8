package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"perigee/proxy"
	"perigee/proxy/admin"
	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// run serves a configuration until a signal ends it.
func run(args []string, _, errs io.Writer) int {
	flags := newFlags("run", errs)
	path := flags.String("c", "", "the configuration `FILE`")
	watch := flags.Bool("watch", false, "reload when the file or a script of it changes")
	if flags.Parse(args) != nil || flags.NArg() > 0 || *path == "" {
		flags.Usage()
		return exitUsage
	}
	file, err := config.Load(*path)
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	p, err := start(file, func() (*config.File, error) { return config.Load(*path) })
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	if *watch {
		go p.watch()
	}
	return p.wait()
}

// process is a running gateway with its admin listener and its log.
type process struct {
	*proxy.Server
	log   *observe.Log
	admin *admin.Server
	load  func() (*config.File, error)
	ended chan struct{}
	// signals are taken from before the first connection on.
	signals chan os.Signal
}

func start(file *config.File, load func() (*config.File, error)) (*process, error) {
	level, err := observe.ParseLevel(string(file.Log.Level))
	if err != nil {
		return nil, err
	}
	log, err := observe.OpenLog(observe.LogOptions{File: file.Log.File, Level: level})
	if err != nil {
		return nil, err
	}
	server, err := proxy.NewServer(proxy.NewState(buildInfo(), log))
	if err != nil {
		return nil, err
	}
	p := &process{
		Server: server, log: log, load: load,
		ended: make(chan struct{}), signals: make(chan os.Signal, 4),
	}
	signal.Notify(p.signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	// The doors open first: they say "starting" until the gateway is ready.
	if !file.Admin.Off() {
		p.admin, err = admin.Start(admin.Options{
			Address: file.Admin.Address, Probes: file.Admin.Probes, Log: log.Slog(),
		}, p)
		if err != nil {
			p.end()
			return nil, file.NewError("admin", err.Error(), "choose a free address, or off")
		}
	}
	if err := server.Apply(file); err != nil {
		p.end()
		return nil, err
	}
	for address, bound := range server.Addresses() {
		log.Print(observe.LevelNotice, nil, "listening on "+bound.String()+" ("+address+")")
	}
	return p, nil
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
		default:
			return p.drain(p.signals)
		}
	}
	return exitOK
}

func (p *process) drain(signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				cancel()
			}
		}
	}()
	p.log.Print(observe.LevelNotice, nil, "draining")
	if err := p.Drain(ctx); err != nil {
		p.log.Print(observe.LevelWarn, nil, "drain cut short: "+err.Error())
	}
	p.end()
	return exitOK
}

// end closes what is open, the log last.
func (p *process) end() {
	close(p.ended)
	if p.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = p.admin.Close(ctx)
		cancel()
	}
	p.Close()
	_ = p.log.Close(time.Second)
}
