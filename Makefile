# The verbs of people, and of .ci/run.
#
#   make demo     build, then show the main job: Dockerfile -> image -> archive -> other store -> process
#   make test     install what the tests need, run all of them, print a summary
#   make test-vm  cgroup v2, AppArmor, SELinux and systemd for real, under qemu; part of make test
#   make bench    side by side with the Debian peers: a table of ratios
#   make lint     fmt, clippy, shellcheck, mandoc
#   make fuzz     a minute of libFuzzer for each parser of foreign bytes
#   make install PREFIX=/usr/local DESTDIR=

PREFIX  = /usr/local
DESTDIR =
CARGO   = cargo
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
TOOLS  := $(patsubst tools/%/Cargo.toml,%,$(wildcard tools/*/Cargo.toml))
PAGES  := $(wildcard man/*.[1-8])
BUILT   = target/$(TARGET)/release

# The scripts of the virtual machine.
VM = run init inside lib cgroups background delegated apparmor selinux systemd systemd.root

.PHONY: all build compiler demo test test-vm bench fuzz lint install deps clean

all: build

# Every tool and dock into bin/. dock finds its commands in dock.d beside it.
build: compiler
	$(CARGO) build --release --locked $(TOOLS:%=--package %) --package hello
	mkdir -p bin
	for tool in $(TOOLS) hello; do cp -f $(BUILT)/$$tool bin/.$$tool.new && mv -f bin/.$$tool.new bin/$$tool || exit 1; done
	rm -rf bin/dock.d
	cp -f tools/dock/dock bin/dock
	cp -R tools/dock/dock.d bin/dock.d
	chmod 755 bin/dock

# rustc links with it, and three crates have C or assembly in them.
compiler:
	@command -v cc >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev; }

demo: build
	examples/demo.sh

test: deps build
	tests/run
	tests/vm/run

test-vm: deps build
	tests/vm/run

bench: deps build
	bench/run

fuzz: compiler
	fuzz/run

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	shellcheck -s sh tools/dock/dock tools/dock/dock.d/* examples/*.sh tests/run tests/deps tests/debian tests/packages $(VM:%=tests/vm/%) fuzz/run bench/corpus bench/context
	shellcheck tools/dock/completion.bash
	mandoc -T lint -W warning $(PAGES)

# Installs the Debian packages that tests, lint and bench use and that are not there yet.
deps:
	tests/deps

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(TOOLS:%=bin/%) bin/dock $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/share/dock
	install -m 644 tools/dock/dock.d/* $(DESTDIR)$(PREFIX)/share/dock
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 tools/dock/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dock
	for page in $(PAGES); do install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/; done

clean:
	$(CARGO) clean
	rm -rf bin
