#!/bin/sh
# Prints the Python that `make` takes: the first CPython 3.11 that shows an optimized build and can create an environment.
# Otherwise the first one of a distribution, whose builds are optimized and do not show it, if the compiled parts can be
# built with it; otherwise the first that can create an environment. `make PYTHON=...` takes another.
cd "$(dirname "$0")/.." || exit 1
distribution=""
fallback=""

candidates() {
  for name in python3.11 python3; do
    (IFS=:; for folder in $PATH; do [ ! -x "$folder/$name" ] || echo "$folder/$name"; done)
    [ "$name" = python3 ] || ls -d "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/cpython-3.11.*/bin/python3.11 2>/dev/null
  done
}

for python in $(candidates); do
  "$python" -c 'import ensurepip, venv, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 || continue
  case "$("$python" -m deployments.system.installed 2>/dev/null)" in
    3.11.*" optimized") echo "$python"; exit ;;
    3.11.*" unknown")
      headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
      [ ! -e "$headers/Python.h" ] || distribution=${distribution:-$python} ;;
  esac
  [ -n "$fallback" ] || fallback=$python
done
echo "${distribution:-${fallback:-python3}}"
