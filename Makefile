# payorder: build, install and test with PostgreSQL's PGXS.
#
#   make && sudo make install    build, and install into PG_CONFIG's server
#   make demo                    the main job, watched, on a private server
#   make test                    every test, on private servers
#   make bench                   what it promises about speed, measured
#   make installcheck            pg_regress against the installed extension
#                                and the running server that PG* names
#   make mutants                 proof that the tests can go red
#
# Variables: PG_CONFIG, WERROR=1, WITH_LLVM=yes (bitcode for the JIT),
# TESTS="regress:order tap" for `make test`, SEED=n for `make demo`,
# BENCH="ingest guard" and BENCH_SIZE=small for `make bench`.

EXTENSION = payorder
MODULE_big = payorder

# The control file is the one place that says the version.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" payorder.control)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
SQL_PARTS = $(sort $(wildcard sql/parts/*.sql))
DATA_built = sql/payorder--$(EXTVERSION).sql
DOCS = $(wildcard doc/*.md)
DATA = $(wildcard sql/payorder--*--*.sql)

# The library that the server itself uses.
SHLIB_LINK = $(or $(filter -lcrypto,$(LIBS)),-lcrypto)

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter
ifneq ($(filter-out 0 no,$(WERROR)),)
PG_CFLAGS += -Werror
endif

# test/sql/schedule, where there is one, gives the order: "test: name" lines.
REGRESS = $(or $(shell sed -n 's/^test: *//p' test/sql/schedule 2>/dev/null),\
	$(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=payorder

# What was built with what; each changes only when its content does.
C_STAMP = .c-stamp
SQL_STAMP = .sql-stamp
EXTRA_CLEAN = $(C_STAMP) $(SQL_STAMP) $(DATA_built).tmp \
	results regression.diffs regression.out

# Bitcode serves the JIT only, and would make clang a need of every build.
override with_llvm := $(or $(WITH_LLVM),no)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

all:

# Debian's client package has PGXS as well, but no headers.
ifneq ($(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h),)
include $(PGXS)

# Objects depend on every header, on the server they are for and on the flags;
# the script on its parts, also on those that went.
$(OBJS): $(wildcard src/*.h) $(C_STAMP)

$(DATA_built): $(SQL_PARTS) payorder.control $(SQL_STAMP)
	awk 1 $(SQL_PARTS) > $@.tmp
	mv $@.tmp $@

$(C_STAMP): CONTENT = $(VERSION) $(includedir_server) $(CC) $(PG_CFLAGS)
$(SQL_STAMP): CONTENT = $(SQL_PARTS)
$(C_STAMP) $(SQL_STAMP): force
	@echo '$(CONTENT)' | cmp -s - $@ || echo '$(CONTENT)' > $@
else
# No server headers yet: only the targets that need none, or fetch them.
all install installcheck clean:
	@echo >&2 "$(PG_CONFIG): no PostgreSQL server headers; 'make deps' gets them"
	@exit 1
endif

# The scripts run make themselves, with what they need handed over by name.
RUN = env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
	PG_CONFIG='$(PG_CONFIG)' WERROR='$(WERROR)'

deps:
	$(RUN) test/deps

checkver:
	@test/checkver

test:
	+@$(RUN) test/run $(TESTS)

demo:
	+@$(RUN) SEED='$(SEED)' test/demo

bench:
	+@$(RUN) BENCH_SIZE='$(BENCH_SIZE)' bench/run $(BENCH)

mutants:
	+@$(RUN) test/mutants/run $(MUTANTS)

indent:
	clang-format -i $(wildcard src/*.c src/*.h)

.PHONY: all deps checkver test demo bench mutants indent force
