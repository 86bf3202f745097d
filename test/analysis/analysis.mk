# Coverage, valgrind, static analysis, reference counts: included by the Makefile. docs/robustness.md has the rest.

# --- branch coverage ---------------------------------------------------------------------------------------

# Percent of the branches of the C code that the tests must take.
COVERAGE_LEAST ?= 90
COVERAGE_BUILD := build-coverage
COVERAGE_KEEP := $(COVERAGE_BUILD)/keep_counts.o
# Without optimisation, branches are those of the source. keep_counts.c says why functions are wrapped.
COVERAGE_MAKE := PYACTION_UNHARDENED=1 $(MAKE) -s --no-print-directory BUILD=$(COVERAGE_BUILD) CFLAGS='-O0 -g' HARDENING= \
	SANITIZE=--coverage LDFLAGS='$(COVERAGE_KEEP) -Wl,--wrap=_exit -Wl,--wrap=channel_look'

$(COVERAGE_BUILD)/keep_counts.o: test/analysis/keep_counts.c
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# A runner that has given up its rights adds to the files of one that has not: they are made before, for everybody.
.PHONY: coverage coverage-tests coverage-report
coverage:
	@scripts/install-packages build test analysis
	@$(MAKE) -s --no-print-directory $(COVERAGE_KEEP)
	@$(COVERAGE_MAKE) coverage-tests
	@$(MAKE) -s --no-print-directory coverage-report

coverage-tests: all $(UNIT_TESTS) $(FUZZ_REPLAYS)
	find $(BUILD) -name '*.gcda' -delete
	find $(BUILD) -name '*.gcno' | sed 's/gcno$$/gcda/' | xargs touch
	find $(BUILD) -name '*.gcda' | xargs chmod 666
	$(MAKE) -s --no-print-directory check

coverage-report:
	gcovr --root . --object-directory $(COVERAGE_BUILD) --filter common/ --filter proxy/ --filter pyrunner/ \
		--branches --fail-under-branch $(COVERAGE_LEAST) $(COVERAGE_BUILD)
	gcovr --root . --object-directory $(COVERAGE_BUILD) --filter common/ --filter proxy/ --filter pyrunner/ \
		--html-details $(COVERAGE_BUILD)/report.html $(COVERAGE_BUILD)

# --- leaks in the runner -------------------------------------------------------------------------------------

# For make asan.
$(BUILD)/check_leaks.o: test/analysis/check_leaks.c test/analysis/python_malloc.h
	@mkdir -p $(@D)
	$(call say,cc $@)
	$(Q)$(CC) $(RUNNER_CFLAGS) -c -o $@ $<

# --- reference counts --------------------------------------------------------------------------------------

# Python's own debug build counts all references, and checks itself. gcc would take the headers of the ordinary one,
# to which those of the debug build are links.
DEBUG_PYTHON ?= /usr/bin/python3-dbg
DEBUG_MAKE := $(MAKE) -s --no-print-directory BUILD=build-debug PYTHON=$(DEBUG_PYTHON) HARDENING= \
	CFLAGS='-O1 -g -fno-canonical-system-headers'
REFCOUNT_ACTIVATIONS ?= 10000

.PHONY: refcount
refcount:
	@scripts/install-packages build analysis
	@$(DEBUG_MAKE) all
	$(PYTHON) test/analysis/refcount.py build-debug/pyaction --activations $(REFCOUNT_ACTIVATIONS)

# --- valgrind ----------------------------------------------------------------------------------------------

.PHONY: valgrind valgrind-unit valgrind-server
valgrind: valgrind-unit valgrind-server
valgrind-unit: $(UNIT_TESTS)
	@scripts/install-packages analysis
	$(PYTHON) test/analysis/valgrind.py unit $(UNIT_TESTS)
valgrind-server: all
	@scripts/install-packages analysis
	$(PYTHON) test/analysis/valgrind.py server $(BUILD)/pyaction

# --- static analysis ---------------------------------------------------------------------------------------

# gcc's analyzer and clang's, over all C. What they are wrong about is said where it is; of tests, they need not expect
# that memory runs out (a crash there is red as well), nor follow helpers that return structs.
ANALYZED := $(wildcard common/*.c proxy/*.c pyrunner/*.c)
ANALYZED_TESTS := $(wildcard test/unit/*.c test/fuzz/*.c test/bench/*.c test/torture/*.c test/analysis/*.c)
ANALYZE_DEFINES := -std=gnu17 -D_GNU_SOURCE -DPYACTION_VERSION='"0"' -DPYRUNNER_PYTHON='"/"' -DFUZZ_FOLDER='"."' \
	-DFUZZ_CORPUS='"."' -isystem $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')
ANALYZE_GCC := gcc $(ANALYZE_DEFINES) -O0 -g -fanalyzer -Werror -c -o /dev/null
ANALYZE_CLANG := clang-tidy --quiet --checks=-*,clang-analyzer-*,-clang-analyzer-valist.Uninitialized,$(strip \
	)-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling
ANALYZE_EACH := xargs -P $$(nproc) -n 1

.PHONY: analyze
analyze:
	@scripts/install-packages build analysis
	printf '%s\n' $(ANALYZED) | $(ANALYZE_EACH) $(ANALYZE_GCC)
	printf '%s\n' $(ANALYZED_TESTS) | $(ANALYZE_EACH) $(ANALYZE_GCC) -Wno-analyzer-possible-null-argument \
		-Wno-analyzer-possible-null-dereference -Wno-analyzer-null-argument -Wno-analyzer-malloc-leak
	$(ANALYZE_CLANG) $(ANALYZED) -- $(ANALYZE_DEFINES)
