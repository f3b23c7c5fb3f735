#!/usr/bin/env bash
# Makes .venv from requirements.lock and bare.txt, once. A stamp named after their content tells that it is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash packaging/system_libraries.sh "$@"

stamp=.venv/.installed-$(cat requirements.lock packaging/bare.txt | sha256sum | cut -c1-16)
if [ -e "$stamp" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

python=$(bash packaging/find_python.sh)
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3-venv"
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends python3.11-venv >/dev/null
  else
    echo "This Python cannot make virtual environments. Run:  sudo apt-get install python3.11-venv" >&2
    exit 1
  fi
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "Making .venv with $python"
  rm -rf .venv
  "$python" -m venv .venv
fi
echo "Installing the packages of requirements.lock (once; a few minutes without a word)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement packaging/bare.txt
rm -f .venv/.installed-*
touch "$stamp"
