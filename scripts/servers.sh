#!/bin/sh
# Gets the database servers that the tests start privately. Run by `make test`; what cannot be had is named, loudly,
# here and again at the end of the tests, and its tests are skipped.
#
#   servers.sh              all of them
#   servers.sh --for-demo   only what the demo with SOURCE=… needs
#   WHIMBREL_APT=0          never install system packages
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

missing=.cache/servers-missing # one line an engine that could not be had: name, tab, reason

lacks() {
    printf '%s\t%s\n' "$1" "$2" >>"$missing"
    say "*** NOT HERE: $1: $2 ***"
}

have_mariadb() { [ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null 2>&1; }

get_mariadb() {
    have_mariadb && return
    if ! may_apt; then
        lacks mariadb "mariadbd is not installed, and $(why_no_apt) (apt-get install mariadb-server)"
        return
    fi
    say "installing mariadb-server with apt (its own service is not used)"
    apt_install mariadb-server && have_mariadb && return
    lacks mariadb "apt-get install mariadb-server failed: $(tail -n 1 .cache/apt.log)"
}

get_mysql() {
    said=$(.venv/bin/python -m tests.servers.fetch_mysql 2>&1) && return
    lacks mysql "$(printf '%s\n' "$said" | tail -n 1)"
}

have_postgres15() { [ -x /usr/lib/postgresql/15/bin/postgres ]; }

get_postgres15() {
    have_postgres15 && return
    if ! may_apt; then
        lacks postgres15 "/usr/lib/postgresql/15 is not installed, and $(why_no_apt) (apt-get install postgresql-15)"
        return
    fi
    say "installing postgresql-15 with apt (its own cluster is not used)"
    apt_install postgresql-15 && have_postgres15 && return
    lacks postgres15 "apt-get install postgresql-15 failed: $(tail -n 1 .cache/apt.log)"
}

# The stand-in for Snowflake needs other versions than we do, and so an environment of its own.
get_snowflake() {
    folder=.cache/snowflake
    pins=tests/emulators/snowflake/requirements.txt
    new=$({ pwd && .venv/bin/python -c 'import sys; print(sys.version, sys.base_prefix)' && cat "$pins"; } | cksum)
    [ -x "$folder/bin/python" ] && [ "$(cat "$folder/made" 2>/dev/null)" = "$new" ] && return
    say "installing the stand-in for Snowflake (about a minute the first time)"
    rm -rf "$folder"
    if .venv/bin/python -m venv --without-pip "$folder" >.cache/snowflake.log 2>&1 &&
        install_packages "$folder" .cache/snowflake.log --no-deps -r "$pins"; then
        printf '%s\n' "$new" >"$folder/made"
        return
    fi
    rm -rf "$folder"
    lacks snowflake "its stand-in could not be installed: $(tail -n 1 .cache/snowflake.log) (see .cache/snowflake.log)"
}

# The stand-ins on DuckDB, and sqlfluff, which reads what they are sent: one environment of their own for all of them.
get_stands() {
    folder=.cache/stands
    pins=tests/emulators/stands-requirements.txt
    new=$({ pwd && .venv/bin/python -c 'import sys; print(sys.version, sys.base_prefix)' && cat "$pins"; } | cksum)
    [ -x "$folder/bin/python" ] && [ "$(cat "$folder/made" 2>/dev/null)" = "$new" ] && return
    say "installing the stand-ins for Databricks and Firebolt (about a minute the first time)"
    rm -rf "$folder"
    if .venv/bin/python -m venv --without-pip "$folder" >.cache/stands.log 2>&1 &&
        install_packages "$folder" .cache/stands.log --no-deps -r "$pins"; then
        printf '%s\n' "$new" >"$folder/made"
        return
    fi
    rm -rf "$folder"
    for engine in databricks firebolt; do
        lacks "$engine" "its stand-in could not be installed: $(tail -n 1 .cache/stands.log) (see .cache/stands.log)"
    done
}

# The stand-in for BigQuery runs on Python 3.13, with extensions of DuckDB that it looks for below a home of its own.
get_bigquery() {
    folder=.cache/bigquery
    pins=tests/emulators/bigquery/requirements.txt
    python=$(pyenv prefix 3.13.0 2>/dev/null)/bin/python
    [ -x "$python" ] || python=$(command -v python3.13) || {
        lacks bigquery "its stand-in needs Python 3.13, which is not installed (pyenv install 3.13.0)"
        return
    }
    new=$({ pwd && "$python" -c 'import sys; print(sys.version, sys.base_prefix)' && cat "$pins"; } | cksum)
    [ -x "$folder/bin/python" ] && [ "$(cat "$folder/made" 2>/dev/null)" = "$new" ] && return
    say "installing the stand-in for BigQuery (about a minute the first time, 750 MB)"
    rm -rf "$folder"
    if "$python" -m venv --without-pip "$folder" >.cache/bigquery.log 2>&1 &&
        install_packages "$folder" .cache/bigquery.log --no-deps -r "$pins" &&
        mkdir -p "$folder/home" &&
        HOME="$folder/home" "$folder/bin/python" -c 'from duckdb_extensions import import_extension
for name in ("icu", "ducklake", "spatial", "avro"): import_extension(name)' >>.cache/bigquery.log 2>&1; then
        printf '%s\n' "$new" >"$folder/made"
        return
    fi
    rm -rf "$folder"
    lacks bigquery "its stand-in could not be installed: $(tail -n 1 .cache/bigquery.log) (see .cache/bigquery.log)"
}

# What reads the SQL that the stand-in for Oracle is sent: a grammar from npm, in a folder of its own.
get_plsql() {
    folder=.cache/plsql
    pins=tests/emulators/oracle/package.json
    [ -d "$folder/node_modules/antlr4ts-sql" ] && cmp -s "$pins" "$folder/package.json" && return
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || {
        lacks oracle "its stand-in needs node and npm, which are not installed (apt-get install nodejs npm)"
        return
    }
    say "installing the grammar of the stand-in for Oracle (a few seconds the first time, 61 MB)"
    rm -rf "$folder" && mkdir -p "$folder" && cp "$pins" "$folder/" &&
        (cd "$folder" && npm install --no-audit --no-fund --ignore-scripts) >.cache/plsql.log 2>&1 && return
    rm -rf "$folder"
    lacks oracle "its grammar could not be installed: $(tail -n 1 .cache/plsql.log) (see .cache/plsql.log)"
}

mkdir -p .cache
: >"$missing"
if [ "${1:-}" = --for-demo ]; then
    case "${SOURCE:-postgres}" in
    mariadb) get_mariadb ;;
    mysql) get_mysql ;;
    postgres) ;;
    *) die "SOURCE=$SOURCE: the demo moves from postgres, mariadb or mysql" ;;
    esac
    if [ -s "$missing" ]; then
        die "the demo with SOURCE=$SOURCE needs that server." "make demo alone runs from PostgreSQL and needs nothing installed."
    fi
else
    get_snowflake & # these download while the others are installed
    get_stands &
    get_bigquery &
    get_plsql &
    get_postgres15
    get_mariadb
    get_mysql
    wait
fi
