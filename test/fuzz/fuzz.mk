# Fuzz targets: included by the Makefile. docs/fuzzing.md has the rest.
#
# A target is a file test/fuzz/fuzz_NAME.c; those that include python_target.h embed CPython, with the runner's
# modules, and have their Python part in check_NAME.py. A dictionary NAME.dict and seeds in corpus/NAME/ are found
# by their names.

FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 1
FUZZ_BUILD ?= build-fuzz
FUZZ_CC ?= clang

FUZZ_TARGETS ?= $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_EMBEDDING := $(patsubst test/fuzz/fuzz_%.c,%,$(shell grep -l python_target.h test/fuzz/fuzz_*.c))
FUZZ_HEADERS := $(wildcard test/fuzz/*.h test/analysis/*.h proxy/*.h pyrunner/*.h common/*.h)
FUZZ_CFLAGS := -Wno-conversion -Wno-sign-conversion -DFUZZ_FOLDER='"$(CURDIR)/test/fuzz"'

FUZZ_HELPERS_archive := test/fuzz/unpacking.c
FUZZ_HELPERS_archive_tree := test/fuzz/unpacking.c
FUZZ_HELPERS_tar := test/fuzz/unpacking.c

# The runner's modules but its main: members of it are linked as they are needed.
$(BUILD)/fuzz/runner.a: $(call runner_objects,$(filter-out pyrunner/main.c,$(RUNNER_SOURCES))) \
		$(BUILD)/obj/runner/embedded.o $(call proxy_objects,proxy/json.c proxy/text.c proxy/archive.c)
	@mkdir -p $(@D)
	$(call say,ar $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Arguments: the target, and a source with main() or the option that brings one.
fuzz_flags = $(FUZZ_CFLAGS) -DFUZZ_CORPUS='"test/fuzz/corpus/$(1)"'
fuzz_sources = test/fuzz/fuzz_$(1).c $(FUZZ_HELPERS_$(1)) $(2)
fuzz_link_native = $(Q)$(CC) $(PROXY_CFLAGS) $(call fuzz_flags,$(1)) -o $@ $(call fuzz_sources,$(1),$(2)) \
	$(UNIT_LIBRARY) $(LDFLAGS) -pie -Wl,--as-needed -lzip -lz -lcjson -lmicrohttpd
fuzz_link_embedding = $(Q)$(CC) $(RUNNER_CFLAGS) $(call fuzz_flags,$(1)) -o $@ $(call fuzz_sources,$(1),$(2)) \
	test/fuzz/python_target.c $(BUILD)/fuzz/runner.a $(LDFLAGS) $(RUNNER_LINK) -Wl,--as-needed -lzip -lcjson
fuzz_link = $(call fuzz_link_$(if $(filter $(1),$(FUZZ_EMBEDDING)),embedding,native),$(1),$(2))

FUZZ_INPUTS := $(FUZZ_HEADERS) $(wildcard test/fuzz/*.c) test/fuzz/fuzz.mk $(UNIT_LIBRARY) $(BUILD)/fuzz/runner.a

$(BUILD)/fuzz/replay_%: test/fuzz/fuzz_%.c $(FUZZ_INPUTS)
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(call fuzz_link,$*,test/fuzz/replay.c)

$(BUILD)/fuzz/fuzz_%: test/fuzz/fuzz_%.c $(FUZZ_INPUTS)
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(call fuzz_link,$*,-fsanitize=fuzzer)

FUZZ_REPLAYS := $(FUZZ_TARGETS:%=$(BUILD)/fuzz/replay_%)
.PHONY: fuzz-replays fuzz-binaries
fuzz-replays: $(FUZZ_REPLAYS)
fuzz-binaries: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/fuzz_%)

# --- what a person uses ------------------------------------------------------------------------------------

# The seeds and what was found, with the compiler and the flags of the other tests. Part of make check.
.PHONY: check-fuzz
check-fuzz: $(FUZZ_REPLAYS)
	prove -e '' $(FUZZ_REPLAYS)

# Objects of their own, in a folder of their own.
FUZZ_MAKE := $(MAKE) -s --no-print-directory
FUZZ_FLAVOUR := BUILD=$(FUZZ_BUILD) CC=$(FUZZ_CC) CFLAGS='-O1 -g -fno-omit-frame-pointer' HARDENING= \
	SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-for-loop-analysis'
FUZZ_RUN := $(PYTHON) test/fuzz/run.py --build $(FUZZ_BUILD)

.PHONY: fuzz fuzz-merge fuzz-coverage
fuzz:
	@scripts/install-packages build fuzz
	@$(FUZZ_MAKE) $(FUZZ_FLAVOUR) fuzz-binaries
	$(FUZZ_RUN) fuzz --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS) $(FUZZ_TARGETS)

# Takes what was found and reaches something new into the tree.
fuzz-merge:
	@$(FUZZ_MAKE) $(FUZZ_FLAVOUR) fuzz-binaries
	$(FUZZ_RUN) merge $(FUZZ_TARGETS)

# Which lines and branches of the modules the corpora reach.
fuzz-coverage:
	@$(FUZZ_MAKE) BUILD=build-fuzz-coverage CFLAGS='-O0 -g' HARDENING= SANITIZE=--coverage fuzz-replays
	$(PYTHON) test/fuzz/run.py --build build-fuzz-coverage coverage $(FUZZ_TARGETS)
