#!/usr/bin/env bash
# Makes sure that the shared libraries which PyQt6 and MuJoCo load are on this machine.
# Usage: system_libraries.sh [window]    "window" adds what Qt needs to open a window on an X display.
# As root it installs what is missing with apt-get; otherwise it prints the one line to run and exits 1.
set -euo pipefail

# library file  Debian/Ubuntu package
headless="
libglib-2.0.so.0       libglib2.0-0
libGL.so.1             libgl1
libEGL.so.1            libegl1
libfontconfig.so.1     libfontconfig1
libxkbcommon.so.0      libxkbcommon0
libdbus-1.so.3         libdbus-1-3
libusb-1.0.so.0        libusb-1.0-0
"
window="
libxcb-cursor.so.0     libxcb-cursor0
libxcb-icccm.so.4      libxcb-icccm4
libxcb-image.so.0      libxcb-image0
libxcb-keysyms.so.1    libxcb-keysyms1
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0      libxcb-shape0
libxcb-xkb.so.1        libxcb-xkb1
libxkbcommon-x11.so.0  libxkbcommon-x11-0
"

wanted=$headless
[ "${1:-}" = window ] && wanted+=$window

PATH=$PATH:/usr/sbin:/sbin
known=$(ldconfig -p)

missing=()
while read -r library package; do
  [ -z "$library" ] && continue
  grep -qF "$library " <<<"$known" || missing+=("$package")
done <<<"$wanted"
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "These system libraries are missing (Debian package names): ${missing[*]}. Install them with your package manager." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "These system libraries are missing. Run:  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing system libraries: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
wait_for_lock="-o DPkg::Lock::Timeout=300"
apt-get $wait_for_lock update -qq
apt-get $wait_for_lock install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
