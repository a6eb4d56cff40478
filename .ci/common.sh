# Sourced by run and full: a scratch folder, sections, interpreters and virtual environments.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_QUIET=2 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH VIRTUAL_ENV

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

section() {
    printf '\n=== %s (%ss)\n' "$*" "$SECONDS"
}

# interpreter MINOR: path of a working Python 3.MINOR that can make virtual environments, from PATH or pyenv; else nothing.
interpreter() {
    local candidate
    for candidate in $(type -ap "python3.$1" python3 python || true) "$HOME"/.pyenv/versions/3."$1".*/bin/python; do
        if "$candidate" -c "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, $1))" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# environment NAME INTERPRETER: a fresh virtual environment, first on PATH until the next one.
bare_path=$PATH
environment() {
    "$2" -m venv "$scratch/$1"
    export PATH="$scratch/$1/bin:$bare_path"
    hash -r
}
