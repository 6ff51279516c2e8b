#!/bin/sh
# Tests what is in deploy/. What they need comes from PyPI once, into a folder of its own: Helm's own library (75 MB, a wheel
# without dependencies) and the schemas of Kubernetes (23 MB). Afterwards they take seconds and no network.
set -eu
cd "$(dirname "$0")"
tools="${SKEP_DEPLOY_TOOLS:-$HOME/.cache/skep/deploy-tools}"
wanted="helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 PyYAML"
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$wanted" ]; then
    if [ "${SKEP_OFFLINE:-}" = 1 ]; then
        echo "the tests of deploy/ are left out: their tools are not installed, and SKEP_OFFLINE is 1"
        exit 0
    fi
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086 # several words
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --only-binary=:all: $wanted
    echo "$wanted" >"$tools/installed"
fi
exec "$tools/bin/python" -B test.py "$@"
