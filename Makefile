# KQueue. `make` lists the targets.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= /usr/local
PROFILE ?= release
SCALE ?= 1
SEEDS ?= 20000
ROUNDS ?= 500
SECONDS ?= 300
QUICK ?=

.PHONY: help build install deb demo test bench bench-storage soak fuzz advisories clean

help:                 ## This list
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build:                ## The server, kqueuectl and the PHP extension, optimised: target/release/{kqueue-server,kqueuectl,libkqueue.so}
	scripts/install.sh build
	$(CARGO) build --locked --release --package kqueue-server --package kqueue-ctl --package kqueue

install:              ## Copies the server, kqueuectl with man pages and completions, the unit and, if there is none, /etc/kqueue.toml: make install PREFIX=/usr/local DESTDIR=
	install -D -m 755 $(TARGET)/$(PROFILE)/kqueue-server $(DESTDIR)$(PREFIX)/bin/kqueue-server
	install -D -m 755 $(TARGET)/$(PROFILE)/kqueuectl $(DESTDIR)$(PREFIX)/bin/kqueuectl
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -d $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(TARGET)/$(PROFILE)/kqueuectl generate man $(DESTDIR)$(PREFIX)/share/man/man1
	$(TARGET)/$(PROFILE)/kqueuectl generate completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kqueuectl
	$(TARGET)/$(PROFILE)/kqueuectl generate completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_kqueuectl
	$(TARGET)/$(PROFILE)/kqueuectl generate completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/kqueuectl.fish
	install -D -m 644 packaging/kqueue-server.service $(DESTDIR)$(PREFIX)/lib/systemd/system/kqueue-server.service
	sed -i 's|/usr/bin/kqueue-server|$(PREFIX)/bin/kqueue-server|' $(DESTDIR)$(PREFIX)/lib/systemd/system/kqueue-server.service
	test -e $(DESTDIR)/etc/kqueue.toml || install -D -m 644 packaging/kqueue.toml $(DESTDIR)/etc/kqueue.toml

deb:                  ## Debian packages of the PHP extension and the server: target/debian/*.deb
	scripts/install.sh build
	scripts/deb.sh

demo:                 ## Installs what is missing, then runs a small site on the queue and kills parts of it
	scripts/install.sh demo
	scripts/demo.sh

test:                 ## Installs what is missing, then runs every test
	scripts/install.sh test
	scripts/test.sh

bench:                ## Measures against memcached, beanstalkd, Redis, NATS, into docs/benchmarks.md; the PHP extension; what grows (needs 18 GiB): make bench QUICK=1 (minutes, writes nothing)
	scripts/install.sh bench
	scripts/bench.sh peers $(if $(QUICK),--quick,--document docs)
	scripts/bench.sh extended $(if $(QUICK),--repetitions 3 --items 2000)
	scripts/bench.sh php $(if $(QUICK),--repetitions 3 --items 1000 --cycles 20000)
	scripts/bench.sh storage --only growth $(if $(QUICK),--scale 0.001)

bench-storage:        ## Memory, disk, starts and rates with 10 GiB, 50 million items, a million queues: make bench-storage SCALE=1
	scripts/install.sh build
	scripts/bench.sh storage --scale $(SCALE)

soak:                 ## A long simulation, a long crash loop of the real server, a storm of clients: make soak SEEDS=20000 ROUNDS=500
	$(CARGO) run --locked --profile checked --package kqueue-sim -- run --seeds $(SEEDS)
	$(CARGO) build --locked --package kqueue-server
	KQUEUE_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --locked --package kqueue-tests --test crash -- --nocapture
	KQUEUE_HOSTILE_STORM=200000 KQUEUE_HOSTILE_QUEUES=1000000 $(CARGO) test --locked --package kqueue-tests --test hostile_clients -- --nocapture

fuzz:                 ## Fuzzes decoders, sessions and the journal, so many seconds each: make fuzz SECONDS=300
	scripts/install.sh build
	scripts/fuzz.sh $(SECONDS)

advisories:           ## Known security advisories of our dependencies (fetches the RustSec database)
	$(CARGO) deny --locked check advisories

clean:                ## Removes what was built
	$(CARGO) clean
