#!/usr/bin/env bash
# venv.sh PYTHON DIRECTORY: makes a virtual environment with pip, or says in one line what is missing for it.
set -euo pipefail
python=$1 directory=$2

give_up() {
  echo "$1" >&2
  exit 1
}

has_venv() {
  "$python" -c 'import ensurepip, venv' 2>/dev/null
}

command -v "$python" >/dev/null || give_up "Install Python 3.11 or newer: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  give_up "$python is older than 3.11. Name a newer one: make PYTHON=python3.11 ..."

if ! has_venv && [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
fi
has_venv || give_up "$python has no venv. Install it: apt-get install python3-venv"

"$python" -m venv "$directory"
