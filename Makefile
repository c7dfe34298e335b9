# `make demo` and `make test` do all their own set-up on a fresh Debian 12
# machine, as root. Everything else needs Go only, and finds it by itself.

# weir's version is the commit that the go command stamps into it, where git
# can tell one.
BUILDVCS ?= $(if $(shell git rev-parse HEAD 2>/dev/null),true,false)
VERSION ?= $(shell packaging/version.sh)
PREFIX ?= /usr
DESTDIR ?=
FUZZTIME ?= 5s

# Looked for once, and only by targets that use it.
GO = $(eval GO := $(or $(shell tests/setup.sh go),$(error there is no Go to build with, see above)))$(GO)
export CGO_ENABLED = 0

.PHONY: help build generate verify test test-faults test-kernels test-vm bench bench-intake bench-latency bench-datapath bench-policy bench-stolen bench-sessions bench-flood bench-start bench-load bench-correlation bench-authpolicy fuzz lint fmt install package demo
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

build: ## write bin/weir (needs no clang: the BPF objects are in the tree)
	$(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags '-s -w -X main.release=$(VERSION)' -o bin/weir ./cmd/weir

generate: ## compile the BPF program and generate its Go side (needs clang and llvm)
	$(GO) generate ./...

verify: ## generate again, and fail if the result differs from the tree
	tests/verify.sh "$(GO)"

test: ## run everything: verify, lint, fuzz smoke, unit, kernel and end-to-end tests
	tests/setup.sh test
	$(MAKE) verify lint
	$(MAKE) fuzz FUZZTIME=2s
	$(GO) test -count=1 -timeout 15m ./...

test-faults: ## run the fault tests alone: 500 kills, every byte of a store, disks, interfaces (as root; FAULTFLAGS)
	tests/setup.sh test
	$(GO) test -count=1 -timeout 15m ./userspace/store -run TestEveryByte -v -every 1
	$(GO) test -count=1 -timeout 15m ./tests/faults -v $(FAULTFLAGS)

test-kernels: ## run the tests that touch the kernel on Debian's kernels, in QEMU (KERNELFLAGS, as root)
	tests/setup.sh test
	kernels=$$(tests/setup.sh kernels) && $(GO) run ./tests/kernels -go "$(GO)" -kernels "$$kernels" $(KERNELFLAGS)

test-vm: ## install, attack, upgrade, reboot and remove both packages on a Debian in QEMU (VMFLAGS, as root)
	tests/setup.sh test
	rm -rf bin/vm
	disk=$$(tests/setup.sh vm) && kernels=$$(tests/setup.sh kernels) && \
		for v in old new; do \
			$(MAKE) package VERSION=$(VERSION).$$([ $$v = old ] && echo 1 || echo 2) DIST=bin/vm/$$v && \
			mv bin/vm/$$v/*.deb bin/vm/$$v.deb && mv bin/vm/$$v/*.rpm bin/vm/$$v.rpm || exit 1; \
		done && \
		$(GO) run ./tests/vm -go "$(GO)" -disk "$$disk" -kernel "$$kernels/6.1" -packages bin/vm $(VMFLAGS)

bench: ## run the benchmarks of the Go code
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-intake: ## read one log with weir and its peers, and compare them (BENCHFLAGS, see docs/benchmarks.md)
	peers=$$(tests/setup.sh bench) && $(MAKE) build && \
		$(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench -peers "$$peers" $(BENCHFLAGS)

bench-latency: ## measure the time from a log line to the kernel's refusal, beside weir's peers (as root)
	peers=$$(tests/setup.sh bench) && $(MAKE) build && \
		$(GO) build -buildvcs=false -o bin/latency ./tests/bench/latency && \
		chrt -f 10 bin/latency -peers "$$peers" $(BENCHFLAGS)

bench-datapath: ## measure packets a second of weir and of other packet filters (as root; BENCHFLAGS)
	peers=$$(tests/setup.sh bench datapath) && \
		$(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench datapath -peers "$$peers" $(BENCHFLAGS)

bench-policy: ## measure weir's answers to Postfix's policy requests, beside other policy servers (as root; BENCHFLAGS)
	peers=$$(tests/setup.sh bench policy) && $(MAKE) build && \
		$(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench policy -peers "$$peers" $(BENCHFLAGS)

bench-stolen: ## let 500 sources use a stolen account, with weir, with policyd-rate-limit and with nothing (as root; BENCHFLAGS)
	peers=$$(tests/setup.sh bench policy) && $(MAKE) build && \
		$(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench stolen -peers "$$peers" $(BENCHFLAGS)

bench-sessions: ## measure how soon newly blocked sources lose their open sessions (as root; BENCHFLAGS)
	$(GO) build -buildvcs=false -o bin/bench ./tests/bench && chrt -f 10 bin/bench sessions $(BENCHFLAGS)

bench-flood: ## measure what good clients of a real Postfix notice of a flood (as root; BENCHFLAGS)
	tests/setup.sh demo && tests/setup.sh bench datapath >/dev/null && \
		$(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench flood $(BENCHFLAGS)

bench-start: ## measure how soon a starting agent has put a million stored decisions in force (as root; BENCHFLAGS)
	$(MAKE) build && $(GO) build -buildvcs=false -o bin/bench ./tests/bench && bin/bench start $(BENCHFLAGS)

bench-load: ## run the agent for half an hour under 138,000 events a second of a million sources, then ten times as many (as root; BENCHFLAGS)
	$(MAKE) build && $(GO) build -buildvcs=false -o bin/bench ./tests/bench && \
		setsid -w sh -c 'echo -19 >/proc/self/autogroup; exec "$$@"' - bin/bench load $(BENCHFLAGS)

bench-correlation: ## score the default rules, and other programs', on labelled traffic (BENCHFLAGS, see docs/benchmarks.md)
	peers=$$(tests/setup.sh bench) && $(GO) build -buildvcs=false -o bin/scenarios ./tests/scenarios/cmd/scenarios && \
		bin/scenarios table -seeds report -peers "$$peers" $(BENCHFLAGS)

bench-authpolicy: ## measure how fast Dovecot's auth policy requests are answered (as root; BENCHFLAGS)
	$(MAKE) build && $(GO) build -buildvcs=false -o bin/authpolicy ./tests/bench/authpolicy && \
		setsid -w sh -c 'echo -19 >/proc/self/autogroup; exec "$$@"' - bin/authpolicy $(BENCHFLAGS)

fuzz: ## fuzz every parser for FUZZTIME (5s)
	tests/fuzz.sh "$(GO)" $(FUZZTIME)

lint: ## gofmt, vet, staticcheck, and the lines that the project drew for itself
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l bpf cmd loader policy tests userspace); \
		[ -z "$$unformatted" ] || { echo "not gofmt'ed, run make fmt: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 ./tests/arch

fmt: ## format the Go code
	$(GO) fmt ./...

share = $(DESTDIR)$(PREFIX)/share
install: build ## install below DESTDIR and PREFIX (/usr): weir, unit, user, configuration, manual, completions
	install -D -m 755 bin/weir $(DESTDIR)$(PREFIX)/bin/weir
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(share)/man/man1 $(share)/man/man5
	install -d $(DESTDIR)$(PREFIX)/lib/weir/bpf/weir
	sed 's#/usr/bin/weir#$(PREFIX)/bin/weir#; s#/usr/lib/weir#$(PREFIX)/lib/weir#' packaging/weir.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	install -D -m 644 packaging/weir.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/weir.conf
	install -D -m 644 packaging/weir.logrotate $(DESTDIR)/etc/logrotate.d/weir
	[ -e $(DESTDIR)/etc/weir/weir.toml ] || install -D -m 644 packaging/weir.toml $(DESTDIR)/etc/weir/weir.toml
	rm -rf bin/man && mkdir -p bin/man
	$(GO) run -buildvcs=false -tags manual ./cmd/weir bin/man packaging/weir.toml $(VERSION) $(EPOCH)
	gzip -9n bin/man/*
	install -m 644 bin/man/*.1.gz $(share)/man/man1
	install -m 644 bin/man/*.5.gz $(share)/man/man5
	bin/weir completion bash | install -D -m 644 /dev/stdin $(share)/bash-completion/completions/weir
	bin/weir completion zsh | install -D -m 644 /dev/stdin $(share)/zsh/vendor-completions/_weir
	bin/weir completion fish | install -D -m 644 /dev/stdin $(share)/fish/vendor_completions.d/weir.fish

DIST ?= dist
MAINTAINER ?= the weir maintainers <maintainers@weir.invalid>
# When the tree was committed: the same tree gives the same packages.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
package: ## build .deb and .rpm into DIST (dist/)
	rm -rf bin/stage && mkdir -p $(DIST)
	umask 022 && $(MAKE) install DESTDIR=bin/stage PREFIX=/usr VERSION=$(VERSION)
	packaging/licences.sh "$(GO)" | gzip -9n | install -D -m 644 /dev/stdin bin/stage/usr/share/doc/weir/licences.gz
	packaging/changelog.sh '$(VERSION)-1' '$(MAINTAINER)' $(EPOCH) | gzip -9n >bin/stage/changelog.Debian.gz
	for p in deb rpm; do \
		SOURCE_DATE_EPOCH=$(EPOCH) VERSION=$(VERSION) MAINTAINER='$(MAINTAINER)' ARCH=$$($(GO) env GOARCH) \
			$(GO) tool -modfile=packaging/nfpm.mod nfpm package -f packaging/nfpm.yaml -p $$p -t $(DIST) || exit 1; \
	done

demo: ## show weir at work: a real mail host attacked, in network namespaces (as root)
	tests/setup.sh demo
	$(MAKE) build
	$(GO) build -buildvcs=false -o bin/demo ./tests/demo
	@bin/demo bin/weir
