# `make` prints what there is. Longer scripts are in .ci/.

GO ?= go
TAGS := -tags luajit
PKG ?= ./...
# What the race detector would falsify: allocations, crossings into C, ratios.
EXACT := TestAllocations|TestCrossings|TestAccessScriptSpeed
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# What make pgo has recorded; "off" builds faster, and what it builds needs 7 to 10 %
# more CPU. Not default.pgo, by which go test would compile everything once more.
PGO ?= cmd/perigee/profile.pgo
# libgcc is linked statically: distroless/base carries libc and libm alone.
LDFLAGS := -X main.version=$(VERSION) -extldflags "-static-libgcc" $(EXTRA_LDFLAGS)
export GO
export CGO_ENABLED := 1
# ARCH=arm64: what make builds is for arm64, by a cross compiler, as NAME-arm64.
# Its libraries are found before this machine's, whose format the linker passes over.
# ARCH of the machine itself is as none.
MACHINE := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
CROSS := $(filter-out $(MACHINE),$(ARCH))
ifneq ($(filter-out arm64,$(CROSS)),)
$(error ARCH=$(ARCH) on $(MACHINE): across architectures there is arm64 on amd64 alone; build $(ARCH) on such a machine)
endif
ifeq ($(CROSS),arm64)
CROSS_DEPS := $(CURDIR)/.deps/arm64
SUFFIX := -arm64
export GOARCH := arm64
export CC := aarch64-linux-gnu-gcc
export CGO_CFLAGS := -O2 -g -I$(CROSS_DEPS)/luajit/include
export CGO_LDFLAGS := -L$(CROSS_DEPS)/lib
endif

.DEFAULT_GOAL := help
.PHONY: help deps deps-test build run test lint race asan fuzz bench flame pgo instructions conformance shares e2e drills e2e-otel soak k6 image image-test image-bases \
	kustomize-check kustomize-update control-plane e2e-k8s capacity saturation clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

deps: ## prepare Debian packages and LuaJIT for building (.deps/; ARCH=arm64)
	@.ci/deps.sh $(or $(CROSS),build)

deps-test: ## deps, and what the tests talk to: nginx, Redis, wrk, ...
	@.ci/deps.sh test

# The copy: what a linker has written by mmap lies in the page cache in large
# pieces, which the kernel maps whole, 14 MiB more than of an installed program.
build: deps ## build bin/perigee (ARCH=arm64: bin/perigee-arm64)
	$(GO) build $(TAGS) -trimpath -pgo=$(PGO) -ldflags '$(LDFLAGS)' -o bin/perigee$(SUFFIX) ./cmd/perigee
	@cp bin/perigee$(SUFFIX) bin/.perigee && mv bin/.perigee bin/perigee$(SUFFIX)

run: build ## serve the demo on :8080 (admin :9901)
	bin/perigee demo -c cmd/perigee/demo/demo.yaml

test: deps-test ## run all tests with the race detector (PKG=./...)
	$(GO) test $(TAGS) -race -shuffle=on $(PKG)
	PERIGEE_DRIVER=goroutine $(GO) test $(TAGS) -race -shuffle=on ./proxy
	$(GO) test $(TAGS) -run '$(EXACT)' ./bench ./luavm ./proxy
	$(GO) test $(TAGS) -v ./bench/instructions

instructions: deps-test ## count the Lua bridge's instructions and compare (ARGS=-update)
	$(GO) test $(TAGS) -count=1 -v ./bench/instructions $(ARGS)

lint: deps-test ## gofmt, vet, staticcheck, luacheck, sizes, unfinished words
	@.ci/lint.sh

race: deps-test ## run the tests repeatedly under the race detector on 1, 2 and 4 Ps
	$(GO) test $(TAGS) -race -shuffle=on -count=2 -cpu=1,2,4 $(PKG)

# Leaks are not looked for: memory reachable only from Lua's heap or from Go
# looks lost to the sanitizer. Speed is not its subject.
asan: deps-test ## run the tests of the C part under the address sanitizer
	ASAN_OPTIONS=detect_leaks=0:handle_segv=0:$$ASAN_OPTIONS \
		$(GO) test $(TAGS) -asan -shuffle=on -count=1 -skip Speed ./luavm/...

fuzz: deps ## run each fuzz target for T (T=15s, PKG=./...)
	@T=$(or $(T),15s) .ci/fuzz.sh $(PKG)

bench: deps-test ## time and allocations of the whole path in memory (BENCH=regexp)
	$(GO) test $(TAGS) -run '^$$' -bench '$(or $(BENCH),.)' -benchmem ./bench/...

flame: build ## profile bin/perigee under wrk for T=5 seconds each, draw bench/flame/*.svg
	@T=$(T) .ci/profile.sh flame

pgo: deps-test build ## profile bin/perigee under wrk for T=15 seconds each, write cmd/perigee/profile.pgo
	@T=$(T) .ci/profile.sh pgo

conformance: ## run the cases of CONFORMANCE=DIR against bin/perigee (ARGS=flags)
	@if [ -z "$(CONFORMANCE)" ]; then \
		echo "conformance: set CONFORMANCE to the folder of the cases; its run.sh is called with the path of bin/perigee" >&2; \
		exit 2; \
	fi
	@$(MAKE) build
	@PERIGEE=$(abspath bin/perigee) .ci/shares.sh conformance 95 "$(CONFORMANCE)/run.sh" $(abspath bin/perigee) $(ARGS)

# The suites that both drivers run: requests and answers meant to break it, faults
# on either side, reloads and drains.
# Parts of tests that are about the other driver have its name.
shares: LOOPS := -skip '/^goroutine$$'
shares: deps-test ## run the hostile, fault and reload suites and print the share that event loops serve
	@.ci/shares.sh hostile 95 $(GO) test $(TAGS) -count=1 $(LOOPS) -run Hostile ./proxy
	@.ci/shares.sh faults 95 $(GO) test $(TAGS) -count=1 $(LOOPS) -run 'Failures|Down|Leav|Abort|Gone|Break|Closes|Slow|FullDisk|HeadLimits|Killed' ./proxy
	@.ci/shares.sh reload 95 $(GO) test $(TAGS) -count=1 $(LOOPS) -run 'Reload|Drain' ./proxy ./cmd/perigee

e2e: deps-test ## run the tests that start the real binary, and the drills with real Redis servers
	$(GO) test $(TAGS) -count=1 -v ./cmd/...
	$(GO) test $(TAGS) -count=1 -v ./ratelimit/fleet
	RELOADS=1000 $(GO) test $(TAGS) -count=1 -v -run TestReloadsKeepConnections ./proxy

# Ahead of what else the machine does, where that is allowed: the plots are to
# show the store's delays.
drills: deps-test ## run the Redis drills and draw ratelimit/fleet/drills/*.svg
	mkdir -p ratelimit/fleet/drills
	DRILL_PLOTS=drills $(GO) test $(TAGS) -count=1 -v -run TestDrill \
		-exec "$$(chrt -r 1 true 2>/dev/null && echo chrt -r 1)" ./ratelimit/fleet

e2e-otel: deps ## send traces and logs to a real OpenTelemetry Collector, built on first use
	@.ci/e2e-otel.sh $(ARGS)

soak: deps-test ## run all of the Lua runtime at once for T=30m (RACE=1: under the race detector)
	SOAK=$(or $(T),30m) SOAK_RACE=$(RACE) $(GO) test $(TAGS) -run TestSoak -v -timeout 0 ./cmd/perigee

k6: build ## load bin/perigee with SCENARIO=smoke, steady, ramp, spike, limit, ...
	@.ci/k6.sh $(or $(SCENARIO),smoke)

capacity: build ## measure what one gateway carries (loadtest/results/capacity.md)
	$(GO) build -o bin/origin ./loadtest/origin
	$(GO) run ./loadtest/capacity $(ARGS)

saturation: build ## plot saturation and p99 against offered load (loadtest/results/saturation.md)
	$(GO) run ./loadtest/capacity -seconds $(or $(SECONDS),10) -saturation loadtest/results/saturation.md

kustomize-check: deps-test build ## render every overlay, check schemas, policies, configurations, alerts
	@.ci/kustomize.sh

kustomize-update: deps-test build ## kustomize-check, with new golden files
	@.ci/kustomize.sh -update

control-plane: ## build kube-apiserver and what goes with it, once, into ~/.cache/perigee (P=2: two packages at a time)
	@CONTROL_PLANE_P=$(or $(P),1) .ci/controlplane.sh

e2e-k8s: build ## scale, roll out and break the fleet on a real control plane, as root (ARGS=-test.short, RUN=TestFleet/cpu)
	@RUN='$(RUN)' .ci/e2e-k8s.sh $(ARGS)

.PHONY: test-arm64 arm64
test-arm64: ## build for arm64 and run it, and tests of the Lua runtime, under qemu
	@$(MAKE) -s build ARCH=arm64
	@$(MAKE) -s arm64 ARCH=arm64

arm64: # test-arm64's second half: the variables of ARCH reach what it compiles
	@.ci/arm64.sh

image: ## build the container image with docker, podman or buildah (IMAGE=perigee:VERSION, ARCH=arm64)
	@VERSION=$(VERSION) ARCH=$(ARCH) .ci/image.sh $(or $(IMAGE),perigee:$(VERSION)$(SUFFIX))

image-test: ## run the image as a cluster does: does it serve, drain and end? size, cold start
	@.ci/imagetest.sh $(or $(IMAGE),perigee:$(VERSION)$(SUFFIX))

image-bases: ## without a registry: make stand-ins for the image's bases, for make image BASES=standin
	@.ci/imagebases.sh $(or $(ARCH),$(MACHINE))

clean: ## remove bin/; .deps/ stays
	rm -rf bin
