#!/usr/bin/env bash
# chromium.sh PLAYWRIGHT: makes sure that the browser tests find a Chromium, or says in one line what to install.
# The system's own comes first; libatomic1 is what Playwright's driver needs and does not bring.
set -euo pipefail
playwright=$1
packages=(chromium libatomic1 fonts-liberation)

has_system_chromium() {
  command -v chromium >/dev/null && "$playwright" --version >/dev/null 2>&1
}

install_packages() {
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null || return 1
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}

if has_system_chromium; then
  exit 0
fi
if install_packages && has_system_chromium; then
  exit 0
fi
if "$playwright" install chromium; then
  exit 0
fi
echo "The browser tests need Chromium. Install it: sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
exit 1
