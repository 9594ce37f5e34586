#!/bin/sh
# Print the first Python 3.11, 3.12 or 3.13 on this machine, or say what was found instead and what to do.
# PYTHON in the environment is the only candidate when it is set. POSIX sh: it runs before anything is installed.

describe='import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
found=""

try() {
    command -v "$1" >/dev/null 2>&1 || return 1
    # A name on the PATH may still be nothing: pyenv leaves one for each version that any of its Pythons has.
    if version=$("$1" -c "$describe" 2>/dev/null); then
        printf '%s\n' "$1"
        return 0
    fi
    found="$found${found:+, }$1 ${version:+is }${version:-does not start}"
    return 1
}

if [ -n "$PYTHON" ]; then
    try "$PYTHON" && exit 0
    [ -n "$found" ] || found="no $PYTHON"
else
    for name in python3 python3.13 python3.12 python3.11 python; do
        try "$name" && exit 0
    done
    if command -v uv >/dev/null 2>&1; then
        managed=$(uv python find --no-project --offline '>=3.11,<3.14' 2>/dev/null) && try "$managed" && exit 0
    fi
fi

{
    echo "crmlab needs Python 3.11, 3.12 or 3.13."
    echo "  found: ${found:-no Python on the PATH}"
    echo "  remedy: install one of them (python.org, your system's packages, conda or \`uv python install 3.13\`);"
    echo "          if it is not on the PATH, name it: make setup PYTHON=/path/to/python3.13"
} >&2
exit 1
