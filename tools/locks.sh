#!/usr/bin/env bash
# locks.sh write|check UV: writes the locks from the requirements, or fails where they no longer agree.
# A pin that still fits stays, so a new release of something does not make an old lock wrong.
set -euo pipefail
action=$1 uv=$2
locks=(requirements requirements-dev)

compile() { # compile NAME OUTPUT
  # The development lock takes the versions of the other one, whatever else would fit.
  local agree=()
  if [[ $1 != requirements ]]; then agree=(--constraints requirements.lock); fi
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --custom-compile-command "make lock" --no-annotate \
    "${agree[@]}" --output-file "$2" "$1.txt"
}

pins() {
  sed -nE 's/^([A-Za-z0-9][^\\]*[^ \\]) *\\?$/\1/p' "$1"
}

if [[ $action == write ]]; then
  for name in "${locks[@]}"; do compile "$name" "$name.lock"; done
  exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in "${locks[@]}"; do
  cp "$name.lock" "$scratch/$name.lock"
  compile "$name" "$scratch/$name.lock"
  if ! diff -u --label "$name.lock" --label "$name.txt" <(pins "$name.lock") <(pins "$scratch/$name.lock"); then
    echo "$name.lock does not follow from $name.txt. Write it anew: make lock" >&2
    exit 1
  fi
done
echo "Locks follow from requirements."
