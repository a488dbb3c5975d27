# Each target sets up what it needs: a virtual environment in .venv, the extension module, the test tools.
# Stamps in .venv say what is done, so a second run does only what has changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# What to make the virtual environment with (3.10 or newer), and the model of `make demo`.
PYTHON ?= python3
# Which versions of other packages are installed; `make setup CONSTRAINTS=` in a fresh clone takes the newest of all.
CONSTRAINTS ?= tests/constraints.txt
MODEL ?= smollm2-135m
FUZZ_SECONDS ?= 60
# How many processes the tests of the package are spread over, but for those marked `alone`; 0 is this one alone.
TEST_PROCESSES ?= 2
KEY ?=
PYTEST_ARGS ?=
MUTANTS ?=
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
DOCS := .docs
# A virtual environment or conda that happens to be active must not decide where maturin installs.
IN_VENV := env -u CONDA_PREFIX VIRTUAL_ENV=$(CURDIR)/$(VENV) PATH="$(CURDIR)/$(BIN):$$PATH"
# For maturin too, which asks pip for what the package depends on.
CONSTRAINED := PIP_CONSTRAINT='$(CONSTRAINTS)'
# What `make test-neon` runs the kernels for 64-bit ARM on: processors that qemu plays, each with the
# best of our instruction sets that it has, and the cross compiler's linker and libraries.
NEON_TARGET := aarch64-unknown-linux-gnu
NEON_PROCESSORS := max:neon-i8mm neoverse-n1:neon-dotprod cortex-a72:neon
NEON_LINKER ?= aarch64-linux-gnu-gcc
NEON_LIBRARIES ?= /usr/aarch64-linux-gnu
# What `make test-x86` runs the kernels for x86-64 on: processors of the years before AVX, and the first with AVX2.
X86_PROCESSORS := Conroe:portable Nehalem:sse42 Haswell:avx2
QEMU_X86 ?= $(shell command -v qemu-x86_64-static || command -v qemu-x86_64)
QEMU_AARCH64 ?= $(shell command -v qemu-aarch64-static || command -v qemu-aarch64)
TEST_PARTS := setup-tests check test-rust test-py
# The crates that hold tests; ruvllm-py only translates and is tested from Python.
RUST_TESTED := --workspace --exclude ruvllm-py
# Both classes of device in one build, so that Wasmtime and its compiler are built once for everything that is tested.
TESTED_FEATURES := --features ruvllm-packs/precompiled
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name target -prune -o \( -name '*.rs' -o -name Cargo.toml \) -print)

.PHONY: help setup setup-tests build demo test check lint format test-rust test-py test-isa test-requantized test-mutants test-neon test-x86 test-wheel test-embedded \
	candle test-candle bench bench-peers bench-sizes bench-gate bench-marks bench-kv-formats bench-structured bench-speculation bench-prefix bench-prefix-tree bench-serve bench-streams bench-start bench-company bench-adapters bench-many-adapters bench-learning learning-curve bench-bank bench-packs bench-fairness bench-long-prompt bench-serve-cost bench-replay bench-decisions bench-tools constraints pack fuzz wheel docs docs-rust size clean

help:  ## this page
	@echo "RuvLLM: make TARGET"
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
		printf '  %-17s %s\n' "$$name" "$$text"; done
	@echo "Variables: PYTHON=$(PYTHON) MODEL=$(MODEL) FUZZ_SECONDS=$(FUZZ_SECONDS) CONSTRAINTS=$(CONSTRAINTS) PYTEST_ARGS='$(PYTEST_ARGS)' BENCH_ARGS='$(BENCH_ARGS)'"

# -- setting up -------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: on Debian, apt install build-essential" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is missing or older than 3.10: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: on Debian, apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet 'maturin>=1.9,<2'
	@mkdir -p $(STAMPS) && touch $@

# The extension as it is given away, and the Python sources used in place. It or the tested one is installed, never both.
$(STAMPS)/build: $(STAMPS)/venv $(RUST_SOURCES) pyproject.toml
	$(IN_VENV) $(CONSTRAINED) maturin develop --release --quiet
	@rm -f $(STAMPS)/tested && touch $@

# The extension that the tests run on: with debug assertions, out of the very crates that Rust's tests are built of.
$(STAMPS)/tested: $(STAMPS)/venv $(RUST_SOURCES) pyproject.toml
	$(IN_VENV) $(CONSTRAINED) maturin develop --quiet $(TESTED_FEATURES)
	@rm -f $(STAMPS)/build && touch $@

# pip finds ruvllm installed already and adds what the extra names.
$(STAMPS)/test-tools: pyproject.toml $(CONSTRAINTS) | $(STAMPS)/venv
	@test -e $(STAMPS)/tested || test -e $(STAMPS)/build || $(MAKE) build
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet 'ruvllm[test]'
	@touch $@

# The tests of the server's page drive a browser. Where there is none, root on Debian gets Debian's; anybody
# else is told what to install.
$(STAMPS)/browser: | $(STAMPS)/test-tools
	@$(BIN)/python -m tests.serve.page.browser || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 1; \
		echo "installing Debian's chromium"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null; \
		$(BIN)/python -m tests.serve.page.browser; }
	@touch $@

# Tests of hosts with a slow network between them (tests/serve/hosts) make them with `ip`, as root; elsewhere they are left out.
$(STAMPS)/hosts: | $(STAMPS)/venv
	@command -v ip >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
		echo "installing Debian's iproute2"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends iproute2 >/dev/null; } \
			|| echo "left out: tests of hosts want iproute2, which cannot be installed now"; }
	@touch $@

# For every system and every Python that the package knows, in one file.
constraints: $(STAMPS)/venv  ## tests/constraints.txt anew: the newest of everything that fits together
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.10 --extra dev --no-emit-package ruvllm \
		--no-annotate --custom-compile-command 'make constraints' --output-file tests/constraints.txt pyproject.toml

setup: $(STAMPS)/build $(STAMPS)/test-tools  ## virtual environment in .venv with everything that developing needs

build: $(STAMPS)/build  ## the extension module in release mode, installed into .venv

# -- the two commands -------------------------------------------------------------------------------

demo: $(STAMPS)/build  ## build, install, fetch the default model and chat with it
	$(BIN)/ruvllm pull $(MODEL)
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/ruvllm chat $(MODEL); \
	else exec $(BIN)/ruvllm chat $(MODEL) --temperature 0 --system "Answer in one sentence." --repetition-penalty 1 \
		--prompt "What is the capital of France?"; fi

# Part by part, each with its time, so that a run that has become slow says where.
test:  ## everything that must hold: formats, lints, types, Rust tests, Python tests
	@for part in $(TEST_PARTS); do begin=$$SECONDS; $(MAKE) $$part; took=$$((SECONDS - begin)); \
		printf 'part: %-12s %3d min %02d s\n' $$part $$((took / 60)) $$((took % 60)); done

setup-tests: $(STAMPS)/tested $(STAMPS)/test-tools $(STAMPS)/browser $(STAMPS)/hosts  ## what the tests run on: the extension with debug assertions, their tools, a browser

# -- its parts --------------------------------------------------------------------------------------

check: $(STAMPS)/tested $(STAMPS)/test-tools  ## formats, lints, types, and the stub of the extension against the truth
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(TESTED_FEATURES) --quiet -- -D warnings
	cargo clippy -p ruvllm-py --no-default-features --quiet -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ruvllm._native --mypy-config-file pyproject.toml

lint: check

format: $(STAMPS)/test-tools  ## write the formats that `check` wants
	cargo fmt --all
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

test-rust:  ## tests of the crates
	cargo test $(RUST_TESTED) $(TESTED_FEATURES) --quiet
	$(MAKE) test-embedded

# What is bound to a time comes after the rest, with nothing beside it; the rest has twice the seconds for a test, as two
# share the machine. Each part says what failed, and one that has no tests (pytest ends with 5) is no failure while the
# other has some: PYTEST_ARGS may choose any.
test-py: $(STAMPS)/tested $(STAMPS)/test-tools $(STAMPS)/browser $(STAMPS)/hosts  ## tests of the package; PYTEST_ARGS='-m slow' for the slow ones
	@status=5; for part in '--alone never --numprocesses $(TEST_PROCESSES) --dist worksteal --timeout 120' '--alone only'; do \
		echo "pytest $$part"; ended=0; $(BIN)/python -m pytest $$part --durations 20 $(PYTEST_ARGS) || ended=$$?; \
		case "$$status/$$ended" in 5/*) status=$$ended;; 0/5) ;; 0/*) status=$$ended;; esac; done; exit $$status

test-isa: $(STAMPS)/tested $(STAMPS)/test-tools  ## kernels and engine under each instruction set of this machine
	@isas=$$($(BIN)/python -m tests.support.machine_isas); for isa in $$isas; do \
		echo "== $$isa"; export RUVLLM_ISA=$$isa RUVLLM_REQUIRE_ISA=$$isa; \
		cargo test -p ruvllm-kernels -p ruvllm-core --quiet; $(BIN)/python -m pytest tests/engine -q; done

test-requantized: $(STAMPS)/tested $(STAMPS)/test-tools  ## against llama.cpp on SmolLM2's other formats, which it makes first (compiles it once)
	$(BIN)/python -m tests.engine.requantized_files .bench/requantized
	RUVLLM_REQUANTIZED_DIR=.bench/requantized $(BIN)/python -m pytest -m requantized $(PYTEST_ARGS)

test-mutants: $(STAMPS)/tested $(STAMPS)/test-tools  ## small wrong changes, each of which a test must notice; MUTANTS='scheduler', '--seed 7 --drawn-only'
	$(BIN)/python -m tests.mutants.run $(MUTANTS)

test-neon:  ## kernels for 64-bit ARM, on such a machine or as qemu plays three of them
	@case "$$(uname -m)" in aarch64|arm64) exec cargo test -p ruvllm-kernels --quiet;; esac; \
	complain() { echo "$$1 is missing: $$2" >&2; exit 1; }; \
	[ -n "$(QEMU_AARCH64)" ] || complain "qemu for aarch64" "on Debian, apt install qemu-user-static"; \
	command -v $(NEON_LINKER) >/dev/null || complain $(NEON_LINKER) "on Debian, apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; \
	[ -d "$$(rustc --print target-libdir --target $(NEON_TARGET))" ] || rustup target add $(NEON_TARGET) \
		|| complain "Rust's library for $(NEON_TARGET)" "rustup target add $(NEON_TARGET)"; \
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(NEON_LINKER); \
	cargo clippy -p ruvllm-kernels --all-targets --target $(NEON_TARGET) --quiet -- -D warnings; \
	for processor in $(NEON_PROCESSORS); do export RUVLLM_REQUIRE_ISA=$${processor#*:} PROPTEST_CASES=8; echo "== $$processor"; \
		export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(QEMU_AARCH64) -cpu $${processor%:*} -L $(NEON_LIBRARIES)"; \
		cargo test -p ruvllm-kernels --target $(NEON_TARGET) --quiet; done

test-x86:  ## kernels for x86-64 on older processors, as qemu plays them
	@[ -n "$(QEMU_X86)" ] || { echo "qemu for x86_64 is missing: on Debian, apt install qemu-user-static" >&2; exit 1; }; \
	for processor in $(X86_PROCESSORS); do export RUVLLM_REQUIRE_ISA=$${processor#*:} PROPTEST_CASES=8; echo "== $$processor"; \
		export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(QEMU_X86) -cpu $${processor%:*}"; \
		cargo test -p ruvllm-kernels --quiet; done

# New kernels for it: cargo run -p ruvllm-packs --features precompiled --example precompile -- KERNEL.wat KERNEL.cwasm
test-embedded:  ## kernel packs on a device without a compiler
	cargo test -p ruvllm-packs --no-default-features --features precompiled --test embedded --test embedded_memory --quiet

pack: $(STAMPS)/test-tools  ## the reference kernel pack from its C sources; KEY=FILE signs it, with a new key where FILE is not there
	$(BIN)/python rust/packs/kernels/build.py --write $(if $(KEY),--key '$(KEY)')

fuzz:  ## both parsers for FUZZ_SECONDS each: cargo-fuzz where it is installed, else more property tests
	@if cargo fuzz --version >/dev/null 2>&1; then cd rust/formats; \
		for target in $$(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS); done; \
	else PROPTEST_CASES=$$(( $(FUZZ_SECONDS) * 200 )) timeout $$(( $(FUZZ_SECONDS) * 20 )) cargo test -p ruvllm-formats; fi

# The other wheel, out of a workspace of its own: no target above needs it.
CANDLE_SOURCES := candle/pyproject.toml $(shell find candle -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CANDLE_FEATURES ?=

$(STAMPS)/candle: $(CANDLE_SOURCES) $(RUST_SOURCES) | $(STAMPS)/venv
	@test -e $(STAMPS)/tested || test -e $(STAMPS)/build || $(MAKE) build
	$(IN_VENV) $(CONSTRAINED) maturin develop --quiet --locked --manifest-path candle/Cargo.toml
	@touch $@

# Cargo knows what is new since, also of RUSTFLAGS and features.
candle: $(STAMPS)/venv  ## the engine of `--backend candle` into .venv, at full speed; CANDLE_FEATURES=cuda where the tools are
	@test -e $(STAMPS)/tested || test -e $(STAMPS)/build || $(MAKE) build
	$(IN_VENV) $(CONSTRAINED) maturin develop --release --quiet --locked --manifest-path candle/Cargo.toml \
		$(if $(CANDLE_FEATURES),--features $(CANDLE_FEATURES))
	@rm -f $(STAMPS)/candle

# Of the suites of all backends the rows of candle, and what is its own.
test-candle: $(STAMPS)/candle $(STAMPS)/test-tools  ## the same, its lints, and what the backends are asked with candle among them
	cd candle && cargo fmt --check && cargo clippy --quiet --locked -- -D warnings
	$(BIN)/python -m mypy.stubtest ruvllm_candle._candle --mypy-config-file pyproject.toml
	$(BIN)/python -m pytest tests/backends -k candle $(PYTEST_ARGS)

# -- measuring --------------------------------------------------------------------------------------

bench: $(STAMPS)/build $(STAMPS)/test-tools  ## time our own parts on this machine; a few minutes
	$(BIN)/python -m pytest benches --benchmark-only $(PYTEST_ARGS)

bench-peers: $(STAMPS)/build $(STAMPS)/test-tools  ## us beside llama.cpp on the same files (compiles it once); BENCH_ARGS='--isa avx2 --build avx2'
	$(BIN)/python -m benches.peers.compare $(BENCH_ARGS)

bench-sizes: $(STAMPS)/build $(STAMPS)/test-tools  ## the same on random weights in the shapes of 1b to 8b; BENCH_ARGS='--shapes 8b --formats Q4_K'
	$(BIN)/python -m benches.sizes $(BENCH_ARGS)

bench-start: $(STAMPS)/build $(STAMPS)/test-tools  ## from nothing to the first token, with and without an image of packed weights; BENCH_ARGS='--shape 8b'
	$(BIN)/python -m benches.start $(BENCH_ARGS)

bench-company: $(STAMPS)/build $(STAMPS)/test-tools  ## what is left of the speed beside busy programs, and of the fair share of the processors
	$(BIN)/python -m benches.company $(BENCH_ARGS)

bench-gate: $(STAMPS)/build $(STAMPS)/test-tools  ## is the working tree slower than a commit? fails where it is; BENCH_ARGS='COMMIT_A [COMMIT_B]'
	$(BIN)/python -m benches.gate $(BENCH_ARGS)

bench-marks: $(STAMPS)/build $(STAMPS)/test-tools  ## long context, eight requests together, loading; BENCH_ARGS='smollm2-Q4_0'
	$(BIN)/python -m benches.marks $(BENCH_ARGS)

bench-kv-formats: $(STAMPS)/build $(STAMPS)/test-tools  ## bytes, perplexity, recall and speed of each format of the key-value cache, as a table
	$(BIN)/python -m benches.kv_formats $(BENCH_ARGS)

bench-structured: $(STAMPS)/build $(STAMPS)/test-tools  ## what grammars cost: compiled, and a token; BENCH_ARGS='gemma-3-270m-Q4_K_M'
	$(BIN)/python -m benches.structured $(BENCH_ARGS)

bench-prefix: $(STAMPS)/build $(STAMPS)/test-tools  ## what the prefix cache is worth, cold against warm; BENCH_ARGS='smollm2-Q4_0'
	$(BIN)/python -m benches.prefix $(BENCH_ARGS)

bench-packs: $(STAMPS)/build $(STAMPS)/test-tools  ## what the reference kernel pack costs: decoding with and without it, in turn
	$(BIN)/python -m benches.packs $(BENCH_ARGS)

bench-bank: $(STAMPS)/build $(STAMPS)/test-tools  ## the reasoning bank: what it finds, how soon, beside NumPy in turn
	$(BIN)/python -m benches.bank $(BENCH_ARGS)

bench-speculation: $(STAMPS)/build $(STAMPS)/test-tools  ## what guesses of next tokens gain, and that they cost nothing elsewhere; BENCH_ARGS='smollm2-Q8_0'
	$(BIN)/python -m benches.speculation $(BENCH_ARGS)

bench-streams: $(STAMPS)/build $(STAMPS)/test-tools  ## sixteen requests together, against one and against llama.cpp in turn
	$(BIN)/python -m benches.streams $(BENCH_ARGS)

bench-adapters: $(STAMPS)/build $(STAMPS)/test-tools  ## a batch of eight adapters, against the same without any
	$(BIN)/python -m benches.adapters $(BENCH_ARGS)

bench-many-adapters: $(STAMPS)/build $(STAMPS)/test-tools  ## two thousand adapters by name within a budget of bytes
	$(BIN)/python -m benches.many_adapters $(BENCH_ARGS)

bench-learning: $(STAMPS)/build $(STAMPS)/test-tools  ## an update of what is learned, and what capture costs a token
	$(BIN)/python -m benches.learning $(BENCH_ARGS)

learning-curve: $(STAMPS)/build $(STAMPS)/test-tools  ## right answers along streams with feedback, and the picture of docs/learning.md
	$(BIN)/python -m benches.learning_curve --picture docs/images/learning-curve.svg $(BENCH_ARGS)

bench-serve: $(STAMPS)/build $(STAMPS)/test-tools  ## our server beside llama-cpp-python's under the same load
	$(BIN)/python -m benches.serve $(BENCH_ARGS)

bench-fairness: $(STAMPS)/build $(STAMPS)/test-tools  ## what one tenant can do to another: drops, the worst of all, shares
	$(BIN)/python -m benches.fairness $(BENCH_ARGS)

bench-long-prompt: $(STAMPS)/build $(STAMPS)/test-tools  ## what a stream waits while a prompt of 4000 tokens comes in, and what that loses; BENCH_ARGS='--shape 8b'
	$(BIN)/python -m benches.long_prompt $(BENCH_ARGS)

bench-serve-cost: $(STAMPS)/build $(STAMPS)/test-tools  ## what the server costs beside the engine, for sixteen streams
	$(BIN)/python -m benches.serve_cost $(BENCH_ARGS)

bench-replay: $(STAMPS)/build $(STAMPS)/test-tools  ## what everything but arithmetic costs: a tape in the model's place, a million tokens
	$(BIN)/python -m benches.replay $(BENCH_ARGS)

bench-decisions: $(STAMPS)/build $(STAMPS)/test-tools  ## 400 questions about one input: beside their tokens, and llama-cpp-python
	$(BIN)/python -m benches.decisions $(BENCH_ARGS)

bench-tools: $(STAMPS)/build $(STAMPS)/test-tools  ## calls of functions: 100 questions of a public leaderboard, beside llama-cpp-python
	$(BIN)/python -m benches.tools $(BENCH_ARGS)

bench-prefix-tree: $(STAMPS)/build $(STAMPS)/test-tools  ## the tree of prefixes against its marks, beside one in plain Python
	$(BIN)/python -m benches.prefix_marks $(BENCH_ARGS)

size:  ## lines by crate and package, and what the wheel weighs
	@$(PYTHON) tests/architecture/sources.py
	@ls -l dist/*.whl 2>/dev/null | awk '{ printf "%8.1f MB  %s\n", $$5 / 1e6, $$NF }' || true

# -- giving away ------------------------------------------------------------------------------------

WHEEL_FOLDER ?= dist
wheel: $(STAMPS)/venv  ## a wheel and a source distribution in dist/
	$(IN_VENV) maturin build --release --sdist --out $(WHEEL_FOLDER)

# As users get it: installed in an empty environment of each Python that is named; where qemu is, on an old processor
# too (NumPy's own wheels want what came with this one).
WHEEL_PYTHONS ?= $(PYTHON)
# Not in dist/, whose wheels are somebody's.
TRIED_WHEEL = target/tried-wheel
test-wheel:  ## a wheel, tried as users get it; WHEEL_PYTHONS='python3.10 python3.14'
	rm -rf $(TRIED_WHEEL) && $(MAKE) wheel WHEEL_FOLDER=$(TRIED_WHEEL)
	$(PYTHON) -m tests.support.installed_wheel $(TRIED_WHEEL)/*.whl $(WHEEL_PYTHONS) \
		$(if $(and $(filter x86_64,$(shell uname -m)),$(QEMU_X86)),--runner '$(QEMU_X86) -cpu Nehalem')

# In an environment of its own, since nothing of it is needed to work on the code. What is wrong with a link, a name
# or a setting ends it; `--quiet` would leave mkdocs no warning to be strict about.
$(DOCS)/installed: docs/site/requirements.txt
	$(PYTHON) -m venv $(DOCS)/venv
	$(DOCS)/venv/bin/python -m pip install --quiet --requirement docs/site/requirements.txt
	@touch $@

docs: $(DOCS)/installed  ## the documentation as a site, with a reference of every name, in .docs/html
	NO_MKDOCS_2_WARNING=1 $(DOCS)/venv/bin/mkdocs build
	$(DOCS)/venv/bin/python docs/site/check.py $(DOCS)/html
	@echo "to read it, with the search: $(PYTHON) -m http.server --bind 127.0.0.1 --directory $(DOCS)/html 8080"

docs-rust:  ## the Rust documentation, warnings being errors
	RUSTDOCFLAGS="-D warnings" cargo doc $(RUST_TESTED) --no-deps --document-private-items

clean:  ## remove what was built; fetched models stay
	rm -rf $(VENV) $(DOCS) dist .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find python tests benches examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f python/ruvllm/_native*.so
	cargo clean
