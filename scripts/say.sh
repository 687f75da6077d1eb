# Shell functions that setup.sh and servers.sh share; sourced, not run.

say() { printf '%s\n' "whimbrel: $*"; }

# die WHAT [REMEDY]: end with a message on standard error.
die() {
    printf '%s\n' "whimbrel: $1" >&2
    [ $# -gt 1 ] && printf '%s\n' "          $2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Whether system packages may be installed: apt is there, nobody forbade it, and we are root or sudo asks no password.
may_apt() {
    [ "${WHIMBREL_APT:-1}" != 0 ] || return 1
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || sudo -n true >/dev/null 2>&1
}

why_no_apt() {
    if [ "${WHIMBREL_APT:-1}" = 0 ]; then
        echo "WHIMBREL_APT=0 forbids installing it"
    elif ! command -v apt-get >/dev/null 2>&1; then
        echo "this machine has no apt-get"
    else
        echo "neither root nor password-free sudo to install it with"
    fi
}

# apt_install PACKAGE: quiet; the log is in .cache/apt.log. The package lists are refreshed when the first try fails.
apt_install() {
    mkdir -p .cache
    _apt install -y --no-install-recommends "$1" && return
    _apt update && _apt install -y --no-install-recommends "$1"
}

_apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" >>.cache/apt.log 2>&1 </dev/null
}

# install_packages ENVIRONMENT LOG ARGUMENTS...: into a virtual environment, by uv, or by pip where uv cannot be had, does
# not know a setting of pip's, or fails. Nothing is compiled to bytecode that nobody imports.
install_packages() {
    environment=$1 log=$2
    shift 2
    _by_uv "$environment" "$log" "$@" && return
    .venv/bin/python -m pip --python "$environment/bin/python" install --quiet --disable-pip-version-check --no-input \
        --no-compile "$@" >>"$log" 2>&1
}

_by_uv() (
    environment=$1 log=$2
    shift 2
    settings=$(mktemp)
    trap 'rm -f "$settings"' EXIT
    .venv/bin/python scripts/pip_settings.py >"$settings" 2>>"$log" || exit 1
    while IFS= read -r argument; do set -- "$@" "$argument"; done <"$settings"
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="$PIP_CERT"
    .venv/bin/uv pip install --quiet --python "$environment/bin/python" --index-strategy unsafe-best-match "$@" \
        >>"$log" 2>&1
)
