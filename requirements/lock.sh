#!/bin/sh
# Rewrites the requirement files beside this script. They name no host: where packages come from is the
# business of whoever installs them, what they are is fixed by their hashes.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-.venv/bin/uv}

compile() {
    out=$1
    shift
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "$UV" pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --output-file "$out" "$@"
    echo "$out"
}

compile requirements/dev.txt "$@" pyproject.toml --all-extras --group dev
compile requirements/serve.txt "$@" pyproject.toml --all-extras --constraint requirements/dev.txt
# The container image has everything but the embedded model.
image=$(for extra in server http2 grpc auth metrics otel redis nats validation; do echo "--extra $extra"; done)
# shellcheck disable=SC2086
compile requirements/image.txt "$@" pyproject.toml $image --constraint requirements/serve.txt
echo uv | compile requirements/uv.txt "$@" - --constraint requirements/dev.txt
echo "hatchling>=1.27" | compile requirements/build.txt "$@" -
# The peers run on the very uvicorn that Patinox runs on.
compile requirements/bench.txt "$@" requirements/bench.in --constraint requirements/serve.txt

if grep -nE '://|^-|^ *--(index|extra-index|find-links|default-index)' requirements/*.txt; then
    echo "A requirement file names a host." >&2
    exit 1
fi
