# pyaction. `make help` lists the targets.

VERSION := 0.1.0
.DEFAULT_GOAL := all

# Everything built goes here; other flavours (asan) use another folder, so that objects never mix.
BUILD ?= build
PREFIX ?= /usr/local
# The distribution's Python: its -dev package has the static library, and the bootstrap must be compiled by the
# same version. Not whatever python3 comes first in PATH.
PYTHON ?= /usr/bin/python3

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 \
	-Wwrite-strings -Wundef -Wvla -Wpointer-arith -Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference \
	-fno-common
HARDENING ?= -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
	-ftrivial-auto-var-init=zero
probe = $(if $(shell $(CC) -Werror $(1) -x c -c /dev/null -o /dev/null 2>/dev/null && echo yes),$(1))
HARDENING := $(foreach flag,$(HARDENING),$(call probe,$(flag)))
SANITIZE ?=

ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) $(HARDENING) $(SANITIZE)
HARDENED_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed

PROXY_CFLAGS := $(ALL_CFLAGS) -fPIE -Wconversion -Wsign-conversion -DPYACTION_VERSION='"$(VERSION)"'
# What depends on the Python there is. Not asked for by targets that install it first.
ifneq ($(filter-out deps% run test clean help format image% dist fresh-test,$(or $(MAKECMDGOALS),all)),)
-include $(BUILD)/python.mk
endif
$(BUILD)/python.mk: pyrunner/find-python
	@mkdir -p $(@D)
	@CC='$(CC)' pyrunner/find-python $(PYTHON) >$@.new && mv $@.new $@

RUNNER_CFLAGS = $(ALL_CFLAGS) $(PYTHON_CFLAGS) $(PYTHON_INCLUDES) -DPYRUNNER_PYTHON='"$(PYTHON_PROGRAM)"'
RUNNER_LINK = $(PYTHON_LINK) -Wl,-z,relro,-z,now,-z,noexecstack

COMMON := common/err.c common/look.c common/process.c common/rfc3339.c
PROXY_SOURCES := $(filter-out proxy/pyunpack.c proxy/archive.c,$(wildcard proxy/*.c)) $(COMMON)
UNPACK_SOURCES := proxy/pyunpack.c proxy/archive.c common/err.c
RUNNER_SOURCES := $(wildcard pyrunner/*.c) $(COMMON)
BOOTSTRAP := $(wildcard pyrunner/pyaction_bootstrap/*.py)

proxy_objects = $(patsubst %.c,$(BUILD)/obj/proxy/%.o,$(1))
runner_objects = $(patsubst %.c,$(BUILD)/obj/runner/%.o,$(1))

# make V=1 shows the commands.
Q := $(if $(V),,@)
say = @echo '  $(1)'

.PHONY: all
# What stands beside pyrunner, in libexec.
HELPERS := $(BUILD)/pyunpack $(BUILD)/pyuntar $(BUILD)/pyprecompile $(BUILD)/pycompile
all: $(BUILD)/pyaction $(BUILD)/pyrunner $(HELPERS)

# Of proxy/without_tls.c, for the libraries to find.
WITHOUT_TLS := gnutls_global_init gnutls_global_deinit _gnutls_global_init_skip
$(BUILD)/pyaction: $(call proxy_objects,$(PROXY_SOURCES))
	$(call say,cc $@)
	$(Q)$(CC) $(SANITIZE) $(LDFLAGS) $(HARDENED_LINK) $(WITHOUT_TLS:%=-Wl,--export-dynamic-symbol=%) -o $@ $^ -lmicrohttpd -lcjson

$(BUILD)/pyunpack: $(call proxy_objects,$(UNPACK_SOURCES))
	$(call say,cc $@)
	$(Q)$(CC) $(SANITIZE) $(LDFLAGS) $(HARDENED_LINK) -o $@ $^ -lzip

# Run by the Python that the runner embeds, with the options of their first line.
$(BUILD)/pyuntar $(BUILD)/pyprecompile $(BUILD)/pycompile: $(BUILD)/py%: proxy/%.py $(BUILD)/python.mk
	$(call say,python $@)
	$(Q)sed '1s|/usr/bin/python3|$(PYTHON_PROGRAM)|' $< >$@.new && chmod 755 $@.new && mv $@.new $@

# RUNNER_CHECKS, RUNNER_LDFLAGS: what make asan links into it as well.
$(BUILD)/pyrunner: $(call runner_objects,$(RUNNER_SOURCES)) $(BUILD)/obj/runner/embedded.o $(RUNNER_CHECKS)
	$(call say,cc $@)
	$(Q)$(CC) $(SANITIZE) $(LDFLAGS) $(RUNNER_LDFLAGS) -o $@ $^ $(RUNNER_LINK)

$(BUILD)/obj/embedded.c: pyrunner/embed.py $(BOOTSTRAP)
	@mkdir -p $(@D)
	$(call say,embed $@)
	$(Q)$(PYTHON) pyrunner/embed.py pyrunner/pyaction_bootstrap $@

$(BUILD)/obj/runner/embedded.o: $(BUILD)/obj/embedded.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(RUNNER_CFLAGS) -Ipyrunner -c -o $@ $<

$(BUILD)/obj/proxy/%.o: %.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(PROXY_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/runner/%.o: %.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(RUNNER_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: clean
clean:
	rm -rf build build-*

# --- what a person uses ------------------------------------------------------------------------------------

.PHONY: help
help:
	@echo 'make run         install what is needed, build, serve test/functions/hello.py, print the curl to try'
	@echo 'make test        install what is needed, build, run all tests'
	@echo 'make             build into $(BUILD)/'
	@echo 'make install     install below $(PREFIX) (PREFIX=, DESTDIR=)'
	@echo 'make check       the tests alone; check-unit, check-blackbox, check-scripts for a part of them'
	@echo 'make asan        build and test under address, undefined-behaviour and leak sanitizers'
	@echo 'make valgrind    unit tests and a server under memcheck (docs/robustness.md)'
	@echo 'make analyze     the static analyzers of gcc and clang'
	@echo 'make refcount    reference counts of 10,000 activations, in the debug build of Python'
	@echo 'make coverage    branches of the C code that the tests take'
	@echo 'make lint        clang-format, clang-tidy, cppcheck, shellcheck, flake8, mypy'
	@echo 'make format      clang-format, in place'
	@echo 'make bench       measure; PEER and LAMBDA_PEER add other servers (docs/benchmark.md)'
	@echo 'make torture     thousands of faults under load, TORTURE_FAULTS of them (docs/robustness.md)'
	@echo 'make soak        a million activations in one process, SOAK_ACTIVATIONS (docs/robustness.md)'
	@echo 'make fuzz        feed hostile input to what reads it, FUZZ_SECONDS each (docs/fuzzing.md)'
	@echo 'make image       the container image; image-test tests it, image-test-all all of them (docs/image.md)'
	@echo 'make fresh-test  make run and make test in fresh containers of Debian 11, 12, 13'
	@echo 'make dist        source archive, bills of materials, checksums'

# Installed only where something is missing: needs no root and no network when all is there.
.PHONY: deps deps-test deps-dev
deps:
	@scripts/install-packages build
deps-test:
	@scripts/install-packages build test
deps-dev:
	@scripts/install-packages build test lint

# The packages decide which Python there is, so the build is a make of its own.
.PHONY: run
run: deps
	@$(MAKE) -s --no-print-directory all
	@scripts/serve-example $(BUILD)

.PHONY: test
test: deps-test
	@$(MAKE) -s --no-print-directory all
	@$(MAKE) -s --no-print-directory check

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/pyaction
	install -m 755 $(BUILD)/pyaction $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(HELPERS) $(DESTDIR)$(PREFIX)/libexec/pyaction/
	# Not readable: then nobody but root can trace it, from its first instruction on (SECURITY.md).
	install -m 711 $(BUILD)/pyrunner $(DESTDIR)$(PREFIX)/libexec/pyaction/

# --- tests -------------------------------------------------------------------------------------------------

PYTEST := $(PYTHON) -m pytest -q -p no:cacheprovider
.PHONY: check check-unit check-blackbox check-scripts check-torture
check: check-unit check-scripts check-blackbox check-torture check-fuzz

# Every C module but the two mains, for the tests to link what they need.
UNIT_LIBRARY := $(BUILD)/unit/modules.a
$(UNIT_LIBRARY): $(call proxy_objects,$(filter-out proxy/main.c,$(PROXY_SOURCES)) proxy/archive.c pyrunner/channel.c)
	@mkdir -p $(@D)
	$(call say,ar $@)
	$(Q)$(AR) rcs $@ $^

UNIT_TESTS := $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(wildcard test/unit/test_*.c))
$(BUILD)/unit/%: test/unit/%.c $(wildcard test/unit/*.h) $(UNIT_LIBRARY)
	$(call say,cc $@)
	$(Q)$(CC) $(PROXY_CFLAGS) -Wno-conversion -Wno-sign-conversion -o $@ $< $(UNIT_LINK) $(UNIT_LIBRARY) $(LDFLAGS) \
		-pie -Wl,--as-needed -lzip -lcjson -lmicrohttpd -lpthread

# Tests in which calls of the system and of libraries can be made to fail (test/unit/fail_calls.h).
FAIL_CALLS := $(BUILD)/unit/fail_calls.o
FAILING_TESTS := $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(shell grep -l fail_calls.h test/unit/test_*.c))
$(FAILING_TESTS): $(FAIL_CALLS)
$(FAILING_TESTS): UNIT_LINK = $(FAIL_CALLS) $$(nm $(FAIL_CALLS) | sed -n 's/.* T __wrap_/-Wl,--wrap=/p')
$(FAIL_CALLS): test/unit/fail_calls.c test/unit/fail_calls.h
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(PROXY_CFLAGS) -c -o $@ $<

check-unit: all $(UNIT_TESTS)
	prove -e '' $(UNIT_TESTS)
	PYACTION_BUILD=$(BUILD) $(PYTEST) test/unit/bootstrap

check-scripts: all
	PYACTION_BIN=$(BUILD)/pyaction $(PYTEST) test/scripts

check-blackbox: all
	PYACTION_BIN=$(BUILD)/pyaction $(PYTEST) test/blackbox

# --- endurance: docs/robustness.md ---------------------------------------------------------------------------

$(BUILD)/soak-client: test/torture/soak_client.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(LDFLAGS)

# Short versions of the two below, and tests of the harness.
check-torture: all $(BUILD)/soak-client
	PYACTION_BIN=$(BUILD)/pyaction SOAK_CLIENT=$(BUILD)/soak-client $(PYTEST) test/torture

TORTURE_FAULTS ?= 10000
TORTURE_FLAGS ?=
SOAK_ACTIVATIONS ?= 1000000
SOAK_FLAGS ?=
.PHONY: torture soak
torture: all
	PYTHONPATH=test PYACTION_BIN=$(BUILD)/pyaction $(PYTHON) -m torture --faults $(TORTURE_FAULTS) $(TORTURE_FLAGS)
soak: all $(BUILD)/soak-client
	PYTHONPATH=test PYACTION_BIN=$(BUILD)/pyaction $(PYTHON) -m torture.soak --client $(BUILD)/soak-client \
		--activations $(SOAK_ACTIVATIONS) $(SOAK_FLAGS)

-include test/fuzz/fuzz.mk
-include test/analysis/analysis.mk

# --- benchmark ---------------------------------------------------------------------------------------------

$(BUILD)/bench-client: test/bench/client.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(LDFLAGS)

# Another server each: PEER='name=/opt/name/start {port}' LAMBDA_PEER='name=/opt/name/start {port} {code} {handler}'
PEER ?=
LAMBDA_PEER ?=
BENCH_FLAGS ?=
BENCH_LAMBDA := $(BUILD)/pyaction --port {port} --code {code} --max-request 20M --max-response 20M {handler}
.PHONY: bench
bench: all $(BUILD)/bench-client
	$(PYTHON) test/bench/bench.py --client $(BUILD)/bench-client --server 'pyaction=$(BUILD)/pyaction --port {port}' \
		--compiler 'pyaction=$(BUILD)/pyaction -compile main' \
		$(if $(PEER),--server '$(PEER)') --lambda-server 'pyaction=$(BENCH_LAMBDA)' \
		$(if $(LAMBDA_PEER),--lambda-server '$(LAMBDA_PEER)') $(BENCH_FLAGS)

# --- sanitizers and linters --------------------------------------------------------------------------------

# strict_string_checks is left out: it makes CPython's tokenizer quadratic in the size of a source.
ASAN_ENVIRONMENT := ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYACTION_SANITIZED=1
.PHONY: asan
asan:
	$(ASAN_ENVIRONMENT) $(MAKE) check BUILD=build-asan CFLAGS='-O1 -g -fno-omit-frame-pointer' HARDENING= \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
		RUNNER_CHECKS=build-asan/check_leaks.o RUNNER_LDFLAGS=-Wl,--wrap=channel_write

C_FILES := $(wildcard common/*.[ch] proxy/*.[ch] pyrunner/*.[ch] test/unit/*.[ch] test/bench/*.[ch] test/fuzz/*.[ch] test/torture/*.[ch] test/analysis/*.[ch])
C_SOURCES := $(filter %.c,$(C_FILES))
PYTHON_FILES := $(wildcard proxy/*.py) pyrunner/embed.py pyrunner/pyaction_bootstrap $(wildcard scripts/*.py) scripts/invoke scripts/package \
	test/bench test/blackbox test/scripts test/unit/bootstrap test/image test/fuzz test/analysis test/torture images/check-imports images/pip \
	scripts/make-sbom
SHELL_FILES := .ci/run pyrunner/find-python scripts/install-packages scripts/serve-example scripts/check-run \
	images/lock images/install images/pip/install images/pip/pip scripts/make-dist test/image/blackbox test/image/fresh

.PHONY: lint
lint:
	clang-format --dry-run --Werror $(C_FILES)
	clang-tidy --quiet $(filter-out pyrunner/%,$(filter %.c,$(wildcard common/*.c proxy/*.c))) -- -std=gnu17 -D_GNU_SOURCE \
		-DPYACTION_VERSION='"0"'
	clang-tidy --quiet $(wildcard pyrunner/*.c) -- -std=gnu17 -D_GNU_SOURCE $(PYTHON_INCLUDES) -DPYRUNNER_PYTHON='"/"'
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability,performance \
		--suppress=missingIncludeSystem --suppress=preprocessorErrorDirective --suppress=ctuuninitvar \
		--suppress=memleak -D__linux__ common proxy pyrunner
	shellcheck $(SHELL_FILES)
	$(PYTHON) -m flake8 --max-line-length 120 --extend-ignore E203 $(PYTHON_FILES)
	$(PYTHON) -m mypy --python-version 3.9 --strict --ignore-missing-imports pyrunner/pyaction_bootstrap pyrunner/embed.py
	for file in proxy/*.py; do $(PYTHON) -m mypy --python-version 3.9 --strict --ignore-missing-imports "$$file" || exit; done

.PHONY: format
format:
	clang-format -i $(C_FILES)

-include images/image.mk
