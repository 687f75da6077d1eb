#!/bin/sh
# Makes .venv with the pinned packages and compiles the codecs. Run by `make setup`; safe to run again and again.
#
#   WHIMBREL_PYTHON   the interpreter to use (default: the first of python3.11 … python3.14, python3 that is new enough)
#   WHIMBREL_APT=0    never install system packages
#   WHIMBREL_COMPILE=0  leave the codecs uncompiled
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${WHIMBREL_PYTHON:+"$WHIMBREL_PYTHON"} python3.11 python3.12 python3.13 python3.14 python3; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed and none was found (python3 is: $(python3 --version 2>&1 || echo missing))." \
        "Install it (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv) or name one: WHIMBREL_PYTHON=/path/to/python make setup"
}

can_make_venv() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

need_venv_module() {
    can_make_venv "$1" && return
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if may_apt; then
        say "installing python$version-venv (the interpreter lacks it)"
        apt_install "python$version-venv" || apt_install python3-venv || true
        can_make_venv "$1" && return
    fi
    die "$1 cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian and Ubuntu: apt-get install python$version-venv"
}

# What decides whether the environment is up to date: the interpreter and the files that name packages.
wanted() {
    "$1" -c 'import sys; print(sys.version, sys.base_prefix)'
    pwd
    cat pyproject.toml constraints.txt
}

make_environment() {
    new=$(wanted "$1" | cksum)
    if [ -x .venv/bin/python ] && [ "$(cat .cache/environment 2>/dev/null)" = "$new" ]; then
        return
    fi
    rm -f .cache/environment
    if ! { [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
        need_venv_module "$1"
        say "making .venv with $("$1" --version) ($1)"
        rm -rf .venv
        "$1" -m venv .venv
    fi
    say "installing the pinned packages (about a minute the first time)"
    # The build tools first and from the same pins, so that nothing unpinned is fetched for an isolated build.
    : >.cache/pip.log
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile -c constraints.txt uv \
        >>.cache/pip.log 2>&1 || true # without it pip does its work
    pip_install setuptools wheel Cython
    WHIMBREL_COMPILE=0 pip_install --no-build-isolation -e '.[test]'
    printf '%s\n' "$new" >.cache/environment
}

pip_install() {
    install_packages .venv .cache/pip.log -c constraints.txt "$@" && return
    cat .cache/pip.log >&2
    die "pip could not install: $*" "Its messages are above and in .cache/pip.log; a proxy or index is set as for any pip (pip config)."
}

can_compile() {
    compiler=$(.venv/bin/python -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')
    header=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
    if ! command -v "$compiler" >/dev/null 2>&1 && ! command -v cc >/dev/null 2>&1; then
        echo "no C compiler"
    elif [ ! -f "$header" ]; then
        echo "no Python.h"
    fi
}

compile_codecs() {
    if [ "${WHIMBREL_COMPILE:-1}" = 0 ]; then
        why="WHIMBREL_COMPILE=0"
    else
        why=$(can_compile)
    fi
    if [ -n "$why" ]; then
        rm -f whimbrel/codecs/*.so
        say "codecs run uncompiled, several times slower ($why; on Debian: apt-get install gcc python3-dev)"
        return
    fi
    new=$(cat setup.py whimbrel/codecs/*.py .cache/environment | cksum)
    if [ "$(cat .cache/codecs 2>/dev/null)" = "$new" ] && ls whimbrel/codecs/*.so >/dev/null 2>&1; then
        return
    fi
    rm -f .cache/codecs whimbrel/codecs/*.so
    if .venv/bin/python setup.py --quiet build_ext --inplace --force >.cache/compile.log 2>&1 &&
        ls whimbrel/codecs/*.so >/dev/null 2>&1; then
        printf '%s\n' "$new" >.cache/codecs
        say "compiled the codecs: $(cd whimbrel/codecs && ls ./*.so | sed 's,^\./,,; s,\..*,,' | paste -sd ' ' -)"
    else
        rm -f whimbrel/codecs/*.so
        say "codecs run uncompiled, several times slower (the compiler failed: see .cache/compile.log)"
    fi
}

mkdir -p .cache
python=$(find_python) || exit 1
make_environment "$python"
compile_codecs
