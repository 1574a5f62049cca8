package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/sockets"
)

// successorTime is how long a successor may take until it serves: compiling and
// warming many scripts takes a while.
const successorTime = 2 * time.Minute

// handOver starts the binary that now stands where this one was started from,
// with this process's arguments and listening sockets. When it serves, this
// process drains and ends (true); when it does not come to that, this one goes
// on as if nothing had happened.
func (p *process) handOver() bool {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		p.log.Print(observe.LevelError, nil, "no successor started, this process serves on: "+err.Error())
		return false
	}
	listeners := p.Bound()
	if p.admin != nil {
		listeners = append(listeners, p.admin.Bound()...)
	}
	p.log.Print(observe.LevelNotice, nil, "starting "+path+" as successor")
	ctx, cancel := context.WithTimeout(context.Background(), successorTime)
	defer cancel()
	successor, err := sockets.Start(ctx, path, os.Args, listeners)
	if err != nil {
		p.log.Print(observe.LevelError, nil, "no hand-over, this process serves on: "+err.Error())
		return false
	}
	p.log.Print(observe.LevelNotice, nil, "handed over to process "+strconv.Itoa(successor.Pid)+", draining")
	p.warn(sockets.Notify("MAINPID=" + strconv.Itoa(successor.Pid)))
	_ = successor.Release()
	// From here on the successor answers probes.
	p.closeDoors()
	p.drain(p.HandOver)
	return true
}
