# shellcheck shell=sh
# Sourced by the programs of the shell in scripts/: the checkout, and its virtual environment made ready.
#
# root: the checkout. venv: its environment. ensure_venv FILE...: make the environment if it is missing, and install the
# given requirements files if they are not what was installed last (a copy of each is kept as its stamp). Everything
# printed goes to stderr. $PYTHON chooses the interpreter; an environment of another version is made anew.

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
venv=$root/.venv

# The checkout comes before anything installed: twistd finds the plugin in it, and Python the package.
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH

say() {
    printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
}

# Whether command $1 is a Python that kvstore runs on.
is_suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Print the interpreter to make the environment with.
choose_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if is_suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        if [ "$candidate" = "${PYTHON:-}" ]; then
            break
        fi
    done
    say "${PYTHON:-python3} is not Python 3.11 or later; install one, or name one: PYTHON=/path/to/python3 $0"
    return 1
}

# Whether the environment is there, whole, and of the Python that $PYTHON asks for.
is_ready() {
    version='import sys, pip; print(sys.version_info)'
    present=$("$venv/bin/python" -c "$version" 2>/dev/null) || return 1
    [ -z "${PYTHON:-}" ] || [ "$present" = "$("$PYTHON" -c 'import sys; print(sys.version_info)' 2>/dev/null)" ]
}

make_venv() {
    python=$(choose_python) || return 1
    say "making $venv with $python"
    if ! "$python" -m venv --clear "$venv" >&2; then
        say "could not make $venv; on Debian: apt-get install python3-venv"
        return 1
    fi
    # So that `twistd kvstore` works in the activated environment too, from any directory.
    "$venv/bin/python" -c '
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "kvstore-checkout.pth").write_text(sys.argv[1] + "\n")' "$root"
}

# Install requirements file $1 of the checkout unless its stamp says that it is installed.
install_requirements() {
    stamp=$venv/$(basename -- "$1").installed
    if ! cmp -s -- "$root/$1" "$stamp"; then
        say "installing $1"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/$1" >&2 || return 1
        cp -- "$root/$1" "$stamp"
    fi
}

ensure_venv() {
    # One at a time, should two be started in a fresh checkout; the lock goes with the subshell.
    (
        if command -v flock >/dev/null 2>&1; then
            flock 9
        fi
        is_ready || make_venv || exit 1
        for file in "$@"; do
            install_requirements "$file" || exit 1
        done
    ) 9<"$root/requirements.txt"
}

# If the first argument asks for help: print the comment that the program begins with, and end.
help() {
    case ${1:-} in -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit
        ;;
    esac
}

# Become suite $1 of tests/suites, with the arguments that follow.
run_suite() {
    ensure_venv requirements.txt requirements-dev.txt
    suite=tests.suites.$1
    shift
    exec "$venv/bin/python" -m "$suite" "$@"
}
