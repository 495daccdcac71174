#!/usr/bin/env bash
# The addon against a CUDA libtorch, on a machine with no GPU: scripts/gpu/build.sh [TORCH_VERSION=2.14.1]
#
# Fetches that torch and NVIDIA's packages beside it into a virtual environment (some 5 GB), or takes the one in the folder
# PYTHON_TORCH. Wants CUDA's nvcc, Node and node_modules; the addon in build/ is this one afterwards. Then it is loaded, and
# asked for 'cuda', which must be an ERR_DEVICE that says why.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
VERSION=${1:-2.14.1}
VENV=${PYTHON_TORCH:-$ROOT/build/gpu-build/torch-$VERSION}
NODE=${NODE:-node}
[ -d "$ROOT/node_modules/cmake-js" ] || { echo "node_modules is missing; run ONNXRUNTIME_NODE_INSTALL=skip npm ci"; exit 1; }

if [ -z "${PYTHON_TORCH:-}" ] && [ ! -e "$VENV/complete" ]; then
  python3 -m venv "$VENV"
  pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" --no-deps "torch==$VERSION"
  # NVIDIA's libraries and headers; of the rest (triton, sympy, …) building and loading need nothing.
  mapfile -t needs < <("$VENV/bin/python" -c '
import importlib.metadata, re
for need in importlib.metadata.requires("torch"):
    name = need.split(";")[0].strip()
    if "extra ==" not in need and re.match(r"(nvidia-|cuda-toolkit)", name): print(name)')
  [ "${#needs[@]}" -gt 0 ] || { echo "torch $VERSION names no package of NVIDIA's: it is no CUDA build"; exit 1; }
  printf 'fetching %s\n' "${needs[@]}"
  "${pip[@]}" "${needs[@]}"
  touch "$VENV/complete"
fi

LIBTORCH=$("$VENV/bin/python" -c '
import importlib.util, os
print(os.path.dirname(importlib.util.find_spec("torch").origin))')
export LIBTORCH
echo "libtorch: $LIBTORCH"
unset LIBTORCH_USE_PYTORCH
"$NODE" "$ROOT/scripts/build/setup.mjs"
cat "$ROOT/build/Release/build-info.json"
grep -q '"cudaKernels": true' "$ROOT/build/Release/build-info.json" || { echo "it was built without the CUDA kernels"; exit 1; }
cd "$ROOT"
"$NODE" --import tsx scripts/gpu/without-gpu.ts
