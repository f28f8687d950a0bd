# shellcheck shell=bash
# A private PostgreSQL server from a copied server tree, for everything that
# tests or shows payorder.  Sourced by test/server, test/run, test/demo and
# test/mutants/run.
#
# On PostgreSQL 15 to 17 a server loads extensions from its own folders only,
# so those folders (bin, lib, share) are copied to a temporary place with
# their paths kept; the server finds its libraries by relative paths and so
# relocates by itself.  The extension goes there by DESTDIR.  Nothing outside
# the temporary folder is written, no TCP port is opened, and what was started
# is stopped by its own process id.
#
# Environment:
#   PG_CONFIG      whose server is copied (default: pg_config)
#   PAYORDER_TREE  a copied tree, with the extension installed, to use as it is
#   PAYORDER_USER  whom root becomes for the server and the tests
#                  (default: nobody, who owns no cluster)
#   TMPDIR         where the temporary folder is made (default: /tmp)
#   KEEP=1         leave the temporary folder in place and say where it is

PAYORDER_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HOST_PG_CONFIG=${PG_CONFIG:-pg_config}
PAYORDER_USER=${PAYORDER_USER:-nobody}
BASE=          # the temporary folder; all of ours is below it
TREE=          # the copied server tree (a DESTDIR)
BINDIR=        # its programs
WORK=          # a copy of the project that the unprivileged user may write
DATA=          # the data directory of the private server
JOB=           # the process, and process group, of the job that runs now
GROUP=         # of PAYORDER_USER

if ((EUID == 0)); then
    GROUP=$(id -g "$PAYORDER_USER")
fi

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

host() { "$HOST_PG_CONFIG" "--$1"; }

# The temporary folder, and the promise that it and the server go again
# however the script ends.
base_make()
{
    local dir=${TMPDIR:-/tmp}

    # a socket's path may have 107 bytes, and the tests add some to the folder's
    if ((${#dir} > 40)); then dir=/tmp; fi
    BASE=$(mktemp -d "$dir/payorder.XXXXXX")
    trap cleanup EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir "$BASE/home" "$BASE/tmp" "$BASE/s"
    own "$BASE"
}

cleanup()
{
    local rc=$?

    trap - EXIT
    trap '' HUP INT TERM
    set +e
    job_stop
    server_stop
    if [[ -n $BASE && -d $BASE ]]; then
        if [[ ${KEEP:-} == 1 ]]; then
            printf 'kept: %s\n' "$BASE" >&2
        else
            rm -rf "$BASE"
        fi
    fi
    exit "$rc"
}

# Hands files to the unprivileged user.
own()
{
    if ((EUID == 0)); then chown -R "$PAYORDER_USER:$GROUP" "$@"; fi
}

# Sets AS to the words that put a command under the unprivileged user.  The
# shell lets what it starts in the background ignore SIGINT; taken back here,
# or nothing below could be interrupted.
as_words()
{
    AS=(env --default-signal=INT,QUIT)
    if ((EUID == 0)); then
        AS+=(setpriv "--reuid=$PAYORDER_USER" "--regid=$GROUP" --clear-groups)
    fi
}

# Runs a command as the unprivileged user, in the foreground.
as_user()
{
    local AS

    as_words
    "${AS[@]}" "$@"
}

# Runs a command in a process group of its own, so that a signal to this
# script ends the command and all that it started.
job_self()
{
    local rc=0

    setsid "$@" <&0 &
    JOB=$!
    wait "$JOB" || rc=$?
    JOB=
    return "$rc"
}

# The same as the unprivileged user.
job()
{
    local AS

    as_words
    job_self "${AS[@]}" "$@"
}

job_stop()
{
    local n

    [[ -n $JOB ]] || return 0
    kill -TERM -- "-$JOB" 2>/dev/null
    for ((n = 0; n < 300; n++)); do
        kill -0 -- "-$JOB" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$JOB" 2>/dev/null
    JOB=
    return 0
}

# Builds the extension of a folder for the server of PG_CONFIG.
extension_build()
{
    make -s -C "$1" -j2 PG_CONFIG="$HOST_PG_CONFIG" WERROR="${WERROR:-}" all
}

# Installs the extension of a folder, built before, into the tree.
extension_install()
{
    make -s -C "$1" PG_CONFIG="$HOST_PG_CONFIG" WERROR="${WERROR:-}" \
        DESTDIR="$TREE" install
}

# Copies the server that PG_CONFIG names.
tree_copy()
{
    local dir seen=

    TREE=$1
    for dir in "$(host bindir)" "$(host pkglibdir)" "$(host sharedir)"; do
        # one may lie within another, as share does in some layouts
        case "$seen" in *"|$dir|"*) continue ;; esac
        mkdir -p "$TREE$dir"
        cp -a "$dir/." "$TREE$dir/"
        seen+="|$dir|"
    done
    # for whoever builds with the copied pg_config
    dir=$(host pkgincludedir)
    mkdir -p "$TREE${dir%/*}"
    [[ -e $TREE$dir ]] || ln -s "$dir" "$TREE$dir"
}

# Sets TREE to the one that is given, or to a new copy with the extension.
tree_make()
{
    if [[ -n ${PAYORDER_TREE:-} ]]; then
        TREE=$PAYORDER_TREE
    else
        tree_copy "$BASE/tree"
        extension_install "$PAYORDER_SRC"
    fi
    tree_use
}

# The environment of all that runs against the tree, with nothing in it that
# points to a server of the user's.
tree_use()
{
    local name

    BINDIR=$TREE$(host bindir)
    [[ -x $BINDIR/postgres ]] || die "no server in $BINDIR"
    PGXS_TEST=$TREE$(host pkglibdir)/pgxs/src/test
    for name in $(compgen -e PG); do unset "$name"; done
    export PATH="$BINDIR:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    export PG_CONFIG="$BINDIR/pg_config" PAYORDER_TREE="$TREE"
    export HOME="$BASE/home" TMPDIR="$BASE/tmp" LC_ALL=C.UTF-8
    export PYTHONDONTWRITEBYTECODE=1
    export PG_REGRESS="$PGXS_TEST/regress/pg_regress"
    export PERL5LIB="$PGXS_TEST/perl"
}

# Copies the project to where its tests run: the unprivileged user may not be
# able to read the original, and shall not write it.
work_make()
{
    WORK=$BASE/work
    mkdir "$WORK"
    tar -C "$PAYORDER_SRC" -cf - --exclude=./.git --exclude='*.o' \
        --exclude='*.so' --exclude=./results --exclude=__pycache__ . |
        tar -C "$WORK" -xf -
    own "$WORK"
    cd "$WORK"
}

# Starts the private server; arguments are settings, name=value.
server_start()
{
    local setting

    DATA=$BASE/data
    mkdir -m 700 "$BASE/secrets"      # of the tests' gateways
    own "$BASE/secrets"
    as_user initdb -D "$DATA" -U postgres -A trust -E UTF8 --no-locale -N \
        >"$BASE/initdb.log" 2>&1 || { cat "$BASE/initdb.log" >&2; return 1; }
    {
        cat "$PAYORDER_SRC/test/payorder.conf"
        printf '%s\n' "listen_addresses = ''" "port = 5432" \
            "unix_socket_directories = '$BASE/s'" \
            "payorder.secret_directory = '$BASE/secrets'"
        for setting in "$@"; do
            printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"
        done
    } >>"$DATA/postgresql.conf"
    export PGHOST="$BASE/s" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    export PGDATA="$DATA" PGLOG="$BASE/server.log"
    as_user pg_ctl -s -w -t 120 -D "$DATA" -l "$PGLOG" start >&2 ||
        { tail -n 40 "$PGLOG" >&2; return 1; }
}

# Stops it, by the process id in its own data directory, whoever started it
# last (the demo kills it and starts it again).
server_stop()
{
    local pid

    [[ -n $DATA && -f $DATA/postmaster.pid ]] || return 0
    as_user "$BINDIR/pg_ctl" -s -w -t 60 -D "$DATA" -m fast stop \
        >/dev/null 2>&1 && return 0
    read -r pid <"$DATA/postmaster.pid" || return 0
    # the number may be somebody else's by now
    if [[ $(readlink "/proc/$pid/exe") == "$BINDIR/postgres" ]]; then
        kill -QUIT "$pid"
        sleep 1
        kill -KILL "$pid" 2>/dev/null
    fi
    return 0
}
