# GANNs with friends
#
#   make            builds the extension, the worker and the dashboard
#   make worker     builds the worker alone, which needs nothing of PostgreSQL's server
#   make install    installs the extension into PostgreSQL's folders, gan_worker and gan_dashboard into $(PREFIX)/bin
#   make unit       runs the unit tests
#   make BLAS=own   does without OpenBLAS, whose place loops of our own take; otherwise it is used where it is installed
#   make bench      measures: one line a figure (bench/README.md)
#   make installcheck   runs pg_regress against a running server (PGHOST, PGPORT, PGUSER)
#
# scripts/test.sh does all of it, with a server of its own.

EXTENSION = gannsfriends
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" gannsfriends.control)
MODULE_big = gannsfriends

# A threaded BLAS would start threads in a backend, where PostgreSQL's signal handlers must not run: link the serial one, statically,
# so that no other library in the backend can replace it.
MULTIARCH = $(shell $(CC) -print-multiarch)
OPENBLAS_SERIAL = $(firstword $(wildcard /usr/lib/$(MULTIARCH)/openblas-serial/libopenblas.a))
BLAS ?= $(if $(OPENBLAS_SERIAL),openblas,own)

SRC = src
include src/sources.mk
objects = $(patsubst %.c,src/%.o,$(1))
VECTORISED_OBJS = $(call objects,$(VECTORISED_SOURCES))
OBJS = $(VECTORISED_OBJS) $(call objects,$(SAFETENSORS_SOURCES) $(SHEET_SOURCES) $(call sources,extension/*))

# What CREATE EXTENSION runs, in this order: a function in SQL needs those that it calls.
SQL_PARTS = core/guard core/columns core/domains core/tables core/failures core/rules core/options core/runs core/units \
	core/standing core/workers core/dataset core/claim core/step core/failed-step extras/verify extras/checkpoints extras/spot-checks core/follow \
	extras/enrol extras/expel extras/limits extras/doctor-words extras/doctor-class extras/doctor-machine \
	extras/doctor-network extras/doctor-rights extras/doctor-runs extras/doctor-server extras/doctor extras/messages \
	extras/notice core/views extras/sheets extras/quality extras/class extras/expected extras/report \
	extras/dashboard extras/instructor extras/safetensors extras/enrol-class core/rights extras/viewers
SQL_FILES = $(patsubst %,sql/%.sql,$(SQL_PARTS))

INSTALL_SQL = sql/gannsfriends--$(EXTVERSION).sql
# The update to this version is put together from what it does to the tables and from the same parts; those between older versions are kept as they were.
UPGRADE_SQL = $(patsubst sql/upgrade/%-tables.sql,sql/%.sql,$(wildcard sql/upgrade/gannsfriends--*--$(EXTVERSION)-tables.sql))
DATA = $(filter-out %-tables.sql,$(wildcard sql/upgrade/gannsfriends--*.sql))
DATA_built = $(INSTALL_SQL) $(UPGRADE_SQL)
DOCS = README.md

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --outputdir=. --load-extension=gannsfriends

PG_CPPFLAGS = $(if $(filter openblas,$(BLAS)),-I/usr/include/$(MULTIARCH)/openblas-serial)
SHLIB_LINK = $(if $(filter openblas,$(BLAS)),$(OPENBLAS_SERIAL)) -Wl,--exclude-libs,ALL -Wl,--compress-debug-sections=zlib -lpng -lm
override with_llvm = no
EXTRA_CLEAN = $(INSTALL_SQL) $(UPGRADE_SQL) src/dcgan/cpu/gemm.blas build results

# What students build needs no server's headers: PGXS is there for everything else.
WITHOUT_SERVER = worker install-worker clean-worker dashboard install-dashboard clean-dashboard
ifneq ($(filter-out $(WITHOUT_SERVER),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG = pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
endif

# C11 as the library is written; PostgreSQL's own flags warn of declarations after statements, which C has had since 1999.
$(OBJS): override CFLAGS := $(filter-out -Wdeclaration-after-statement,$(CFLAGS)) -std=gnu11
$(VECTORISED_OBJS): override CFLAGS += $(DCGAN_CFLAGS)
# make SANITIZE=address,undefined: for the test suite; the server needs LD_PRELOAD of the sanitizer's library then.
ifdef SANITIZE
$(OBJS): override CFLAGS += -fsanitize=$(SANITIZE)
SHLIB_LINK += -fsanitize=$(SANITIZE)
endif
$(eval $(call with_blas,src/dcgan/cpu/gemm.o))
HEADERS = $(wildcard src/*/*.h src/*/*/*.h)
$(OBJS): $(HEADERS)

# make module MODULE=build/NAME: the library once more, for a test (test/lib/GannModule.pm). Sources in $(MODULE)/src take the place of
# those in src/extension; with MODULE_FLAGS=-DGANN_FAULTS it has fault points (src/extension/module/fault.h).
ifdef MODULE
FAULT_WRAP = $(addprefix -Wl$(comma)--wrap=,palloc palloc0 palloc_extended MemoryContextAlloc heap_form_tuple)
comma = ,
EXTENSION_OBJS = $(filter src/extension/%,$(OBJS))
MODULE_NAMES = $(if $(MODULE_FLAGS),$(notdir $(EXTENSION_OBJS)),$(notdir $(patsubst %.c,%.o,$(wildcard $(MODULE)/src/*.c))))
MODULE_OBJS = $(addprefix $(MODULE)/,$(MODULE_NAMES))
$(MODULE_OBJS): override CFLAGS := $(filter-out -Wdeclaration-after-statement,$(CFLAGS)) -std=gnu11 $(MODULE_FLAGS) $(addprefix -iquote ,$(wildcard src/extension/*))
$(MODULE_OBJS): $(HEADERS)
define module_object
$(MODULE)/$(notdir $(1:.c=.o)): $(or $(wildcard $(MODULE)/src/$(notdir $(1))),src/$(1))
	mkdir -p $(MODULE)
	$$(COMPILE.c) -o $$@ $$<
endef
$(foreach source,$(call sources,extension/*),$(eval $(call module_object,$(source))))
$(MODULE)/gannsfriends.so: $(OBJS) $(MODULE_OBJS)
	$(CC) $(CFLAGS) -shared -o $@ $(if $(MODULE_FLAGS),$(FAULT_WRAP)) $(filter-out $(addprefix src/extension/%/,$(MODULE_NAMES)),$(OBJS)) $(MODULE_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(SHLIB_LINK)
.PHONY: module
module: $(MODULE)/gannsfriends.so
endif

$(INSTALL_SQL): $(SQL_FILES) Makefile gannsfriends.control
	cat $(SQL_FILES) > $@
$(UPGRADE_SQL): sql/%.sql: sql/upgrade/%-tables.sql $(SQL_FILES) sql/upgrade/assemble.sh sql/upgrade/drop.sql gannsfriends.control
	sql/upgrade/assemble.sh $< $(SQL_FILES) > $@.new
	mv $@.new $@

.PHONY: worker dashboard unit
all: worker dashboard
worker:
	$(MAKE) -C src/worker
dashboard:
	$(MAKE) -C src/dashboard

install: install-worker install-dashboard
.PHONY: install-worker install-dashboard
install-worker: worker
	$(MAKE) -C src/worker install
install-dashboard: dashboard
	$(MAKE) -C src/dashboard install

clean: clean-worker clean-dashboard
.PHONY: clean-worker clean-dashboard
clean-worker:
	$(MAKE) -C src/worker clean
clean-dashboard:
	$(MAKE) -C src/dashboard clean

unit:
	$(MAKE) -f test/unit/Makefile

.PHONY: bench
bench:
	bench/run.sh
