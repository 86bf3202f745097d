# pyaction. `make help` lists the targets.

VERSION := 0.1.0

# Everything built goes here; other flavours (asan) use another folder, so that objects never mix.
BUILD ?= build
PREFIX ?= /usr/local
LIBEXECDIR ?= $(PREFIX)/libexec/pyaction
# The distribution's Python: its -dev package has the static library, and the bootstrap must be compiled by the
# same version. Not whatever python3 comes first in PATH.
PYTHON ?= /usr/bin/python3

PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PYTHON_PROGRAM ?= $(shell $(PYTHON) -c 'import os, sys; print(os.path.realpath(sys.executable))')
PYTHON_CONFIG := $(PYTHON_PROGRAM)-config
# Static and not position-independent: 15 % faster than the shared library (docs/architecture.md).
PYTHON_STATIC := $(wildcard $(shell $(PYTHON) -c 'import sysconfig as s; print(s.get_config_var("LIBPL") + "/" + s.get_config_var("LIBRARY"))'))

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

PROXY_CFLAGS := $(ALL_CFLAGS) -fPIE -Wconversion -Wsign-conversion -DPYACTION_VERSION='"$(VERSION)"' \
	-DPYACTION_LIBEXECDIR='"$(LIBEXECDIR)"'
PYTHON_INCLUDES := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags-only-I python-$(PYTHON_VERSION)-embed))
RUNNER_CFLAGS := $(ALL_CFLAGS) $(PYTHON_INCLUDES) -DPYRUNNER_PYTHON='"$(PYTHON_PROGRAM)"'
ifneq ($(PYTHON_STATIC),)
RUNNER_CFLAGS += -fno-pie
RUNNER_LINK := -no-pie -Wl,--export-dynamic $(PYTHON_STATIC) $(shell $(PYTHON) -c 'import sysconfig as s; print(s.get_config_var("LIBS"), s.get_config_var("SYSLIBS"), s.get_config_var("MODLIBS") or "")')
else
RUNNER_CFLAGS += -fPIE
RUNNER_LINK := -pie $(shell pkg-config --libs python-$(PYTHON_VERSION)-embed)
endif
RUNNER_LINK += -lz -lexpat -lpthread -Wl,-z,relro,-z,now,-z,noexecstack

COMMON := common/err.c
PROXY_SOURCES := $(filter-out proxy/pyunpack.c proxy/archive.c,$(wildcard proxy/*.c)) $(COMMON)
UNPACK_SOURCES := proxy/pyunpack.c proxy/archive.c $(COMMON)
RUNNER_SOURCES := $(wildcard pyrunner/*.c) $(COMMON)
BOOTSTRAP := $(wildcard pyrunner/pyaction_bootstrap/*.py)

proxy_objects = $(patsubst %.c,$(BUILD)/obj/proxy/%.o,$(1))
runner_objects = $(patsubst %.c,$(BUILD)/obj/runner/%.o,$(1))

.PHONY: all
all: $(BUILD)/pyaction $(BUILD)/pyrunner $(BUILD)/pyunpack

$(BUILD)/pyaction: $(call proxy_objects,$(PROXY_SOURCES))
	$(CC) $(SANITIZE) $(LDFLAGS) $(HARDENED_LINK) -o $@ $^ -lmicrohttpd -lcjson

$(BUILD)/pyunpack: $(call proxy_objects,$(UNPACK_SOURCES))
	$(CC) $(SANITIZE) $(LDFLAGS) $(HARDENED_LINK) -o $@ $^ -lzip

$(BUILD)/pyrunner: $(call runner_objects,$(RUNNER_SOURCES)) $(BUILD)/obj/runner/embedded.o
	$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(RUNNER_LINK)

$(BUILD)/obj/embedded.c: pyrunner/embed.py $(BOOTSTRAP)
	@mkdir -p $(@D)
	$(PYTHON) pyrunner/embed.py pyrunner/pyaction_bootstrap $@

$(BUILD)/obj/runner/embedded.o: $(BUILD)/obj/embedded.c
	@mkdir -p $(@D)
	$(CC) $(RUNNER_CFLAGS) -Ipyrunner -c -o $@ $<

$(BUILD)/obj/proxy/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(PROXY_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/runner/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(RUNNER_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: clean
clean:
	rm -rf build build-*
