#!/usr/bin/env bash
# Prints the path of a working Python 3.11, or says in one sentence that there is none.
set -euo pipefail

for candidate in ${PYTHON:-} python3.11 python3 /usr/bin/python3.11 python; do
  if path=$("$candidate" -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null); then
    echo "$path"
    exit 0
  fi
done
echo "CLAP Workbench needs Python 3.11, which is not here; install it (Debian 12: apt-get install python3), or name it: PYTHON=/path/to/python3.11 make ..." >&2
exit 1
