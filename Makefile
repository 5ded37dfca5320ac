# The front door. Each target installs the Debian packages it needs (packaging/packages.txt), builds,
# and runs. `make` alone prints what there is. Variables: KEEP=1 (demo), RUNS=N (fuzz), JOBS=N.
SHELL = /bin/sh
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
RUNS ?= 100000
KEEP ?=
MESON = /usr/bin/meson

.PHONY: help build build-san demo test bench lint fuzz deb clean packages-% bpffs

help:
	@echo 'make demo          build, then watch customer traffic cross a chain that changes (root; KEEP=1 leaves it up)'
	@echo 'make test          every test, under ASan and UBSan (root)'
	@echo 'make lint          every static check'
	@echo 'make bench         measure; table, and build/bench.json (root)'
	@echo 'make fuzz          each fuzz target, RUNS=$(RUNS) inputs'
	@echo 'make deb           build/demarc_VERSION_ARCH.deb'
	@echo 'make build         compile into build/'
	@echo 'make clean         remove every build directory'

# Quiet when nothing is missing.
packages-%:
	@packaging/install-packages $(subst -, ,$*)

# A named mount of the BPF file system is where the datapath is pinned.
bpffs:
	@mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || \
		{ echo 'make: cannot mount bpffs on /sys/fs/bpf (be root, with CAP_SYS_ADMIN)' >&2; exit 1; }

build/build.ninja:
	@$(MESON) setup build >/dev/null </dev/null || { cat build/meson-logs/meson-log.txt; exit 1; }

build-san/build.ninja:
	@$(MESON) setup build-san -Db_sanitize=address,undefined >/dev/null </dev/null || \
		{ cat build-san/meson-logs/meson-log.txt; exit 1; }

build: packages-build build/build.ninja
	@ninja -C build -j$(JOBS) --quiet

build-san: packages-build build-san/build.ninja
	@ninja -C build-san -j$(JOBS) --quiet

demo: packages-build-run-demo bpffs build
	@KEEP='$(KEEP)' DEMARC_BUILD='$(CURDIR)/build' demo/demo

test: packages-build-run-test bpffs build-san
	@tests/run

bench: packages-build-run-demo-bench bpffs build
	@DEMARC_BUILD='$(CURDIR)/build' bench/run

lint: packages-build-lint
	@tools/lint

fuzz: packages-build-fuzz
	@fuzz/run -runs=$(RUNS)

deb: packages-build-deb build
	@packaging/build-deb

clean:
	@rm -rf build build-*
