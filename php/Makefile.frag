
KQUEUE_ROOT = $(abspath $(srcdir)/..)
KQUEUE_TARGET_DIR = $(or $(CARGO_TARGET_DIR),$(KQUEUE_ROOT)/target)
KQUEUE_SOURCES = $(shell find $(KQUEUE_ROOT)/Cargo.toml $(KQUEUE_ROOT)/Cargo.lock $(KQUEUE_ROOT)/build.rs $(KQUEUE_ROOT)/src \
	$(KQUEUE_ROOT)/crates/kqueue-client $(KQUEUE_ROOT)/crates/kqueue-proto -type f)

# A real file with real prerequisites: `sudo make install` after `make` must not ask for cargo, which root may not have.
$(phplibdir)/kqueue.so: $(KQUEUE_SOURCES)
	cd $(KQUEUE_ROOT) && PHP=$(PHP_EXECUTABLE) PHP_CONFIG=$(KQUEUE_PHP_CONFIG) \
		$(CARGO) build --locked --profile dist --package kqueue --target-dir $(KQUEUE_TARGET_DIR)
	cp $(KQUEUE_TARGET_DIR)/dist/libkqueue.$(if $(filter Darwin,$(shell uname -s)),dylib,so) $@

# libtool would have made it, and `make test` reads the name in it.
$(phplibdir)/kqueue.la: $(phplibdir)/kqueue.so
	printf "dlname='kqueue.so'\nlibrary_names='kqueue.so'\ninstalled=no\n" > $@

# Tests that need a daemon are skipped where there is none: cargo build --release --package kqueue-server makes it.
KQUEUE_SERVER ?= $(firstword $(wildcard $(KQUEUE_TARGET_DIR)/dist/kqueue-server $(KQUEUE_TARGET_DIR)/release/kqueue-server) \
	$(shell command -v kqueue-server))
TESTS ?= $(KQUEUE_ROOT)/phpt
NO_INTERACTION ?= 1
test: export KQUEUE_ROOT := $(KQUEUE_ROOT)
test: export KQUEUE_EXTENSION := $(phplibdir)/kqueue.so
test: export KQUEUE_SERVER := $(KQUEUE_SERVER)
test: export NO_INTERACTION := $(NO_INTERACTION)
