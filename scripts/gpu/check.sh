#!/usr/bin/env bash
# Everything that wants a GPU, in one go: scripts/gpu/check.sh [OUT_DIR=build/gpu-check/out]
#
# Wants an NVIDIA GPU, a python3 with a CUDA torch, nvcc, CMake and a C++ compiler; no network. SECONDS_IN_ALL (460) bounds it:
# a part gets what is left of that, at most its own limit. PYTHON, BUILD and NODE name others than python3, build/gpu-check
# and node; where there is no Node or no node_modules, they are taken from NODE_ARCHIVE (build/gpu-node.txz; wants xz), which
# scripts/gpu/pack-node.mjs makes elsewhere. OUT_DIR gets logs, summary.txt and check.json, which are kept up to date, and
# samples.png. Exit status 1 if a part failed; what can't be run here is skipped, with the reason.
set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
OUT=${1:-$ROOT/build/gpu-check/out}
BUILD=${BUILD:-$ROOT/build/gpu-check}
PYTHON=${PYTHON:-python3}
NODE_ARCHIVE=${NODE_ARCHIVE:-$ROOT/build/gpu-node.txz}
SECONDS_IN_ALL=${SECONDS_IN_ALL:-460}
mkdir -p "$OUT" "$BUILD"
OUT=$(cd "$OUT" && pwd)
WORK=$(mktemp -d)
# What still runs beside it when it is interrupted ends with it.
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
SECONDS=0
JOBS=$(nproc)
# cmake and ninja may be Python's.
PATH="$PATH:$(dirname "$("$PYTHON" -c 'import sys; print(sys.executable)')")"
for cuda in "${CUDA_HOME:-}" /usr/local/cuda; do
  [ -x "$cuda/bin/nvcc" ] && PATH="$PATH:$cuda/bin:$cuda/compute-sanitizer"
done

# --- what each part came to --------------------------------------------------------------------------------------------
# A line of parts: name, status, seconds, a remark, with tabs between.
PARTS=$WORK/parts
: > "$PARTS"

write_report() {
  "$PYTHON" "$ROOT/scripts/gpu/report.py" "$WORK" "$OUT"
}

note() { # NAME STATUS SECONDS REMARK
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >> "$PARTS"
  printf '%-18s %-5s %4s s  %s\n' "$1" "$2" "$3" "$4"
  write_report
}

# run NAME LIMIT LOG COMMAND…: status 77 is skipped. Sets STATUS.
run() {
  start "$@"
  finish "$1"
}

# The same in two: others may run meanwhile.
declare -A LIMITS STARTED LOGS PIDS
start() { # NAME LIMIT LOG COMMAND…
  local name=$1 limit=$2 log=$3 left=$((SECONDS_IN_ALL - SECONDS))
  shift 3
  [ "$left" -lt "$limit" ] && limit=$left
  LIMITS[$name]=$limit STARTED[$name]=$SECONDS LOGS[$name]=$log
  [ "$limit" -lt 5 ] && return
  {
    local status=0
    printf '== %s: %s\n' "$name" "$*"
    timeout -k 5 "$limit" "$@" &
    trap "kill $!" TERM
    wait $! || status=$?
    echo "$SECONDS" > "$WORK/$name.ended"
    exit $status
  } > "$WORK/$name.out" 2>&1 < /dev/null &
  PIDS[$name]=$!
}

finish() { # NAME
  local name=$1 limit=${LIMITS[$1]} log=${LOGS[$1]} seconds remark
  if [ "$limit" -lt 5 ]; then
    STATUS=77
    note "$name" skip 0 'no time was left'
    return
  fi
  STATUS=0
  wait "${PIDS[$name]}" || STATUS=$?
  seconds=$(($(cat "$WORK/$name.ended") - STARTED[$name]))
  cat "$WORK/$name.out" >> "$OUT/$log"
  remark=$(tail -n 1 "$WORK/$name.out" | cut -c1-100 | tr '\t' ' ')
  case $STATUS in
    0) note "$name" pass "$seconds" "$remark" ;;
    77)
      # A program that finds no GPU where Python's torch does was not linked as it should be.
      if [ "$CAPABILITY" = none ]; then note "$name" skip "$seconds" "$remark"
      else note "$name" fail "$seconds" "$remark, but Python's torch sees one"; fi ;;
    124 | 137) note "$name" fail "$seconds" "not done after $limit s" ;;
    *) note "$name" fail "$seconds" "status $STATUS, $remark" ;;
  esac
}

rm -f "$OUT"/{build,tests,bench,peers,sanitizer}.log

# --- what is here --------------------------------------------------------------------------------------------------------
cat > "$WORK/facts.py" <<'PY'
import json, os, sys, torch
gpu = torch.cuda.is_available()
facts = {
    "torch": torch.__version__, "python": sys.version.split()[0],
    "libtorch": os.path.dirname(torch.__file__), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    "device": torch.cuda.get_device_name() if gpu else None,
    "capability": "%d%d" % torch.cuda.get_device_capability() if gpu else None,
}
json.dump(facts, open(sys.argv[1], "w"))
print(facts["libtorch"], facts["torch"].split("+")[0], "cu" + (facts["cuda"] or "").replace(".", ""), facts["capability"] or "none")
PY
FACTS=$("$PYTHON" "$WORK/facts.py" "$WORK/facts.json" 2>"$OUT/build.log") || { cat "$OUT/build.log"; note facts fail "$SECONDS" "$PYTHON has no torch"; exit 1; }
read -r LIBTORCH VERSION VARIANT CAPABILITY <<< "$FACTS"
[ "$VARIANT" = cu ] && { note facts fail "$SECONDS" "torch $VERSION is a CPU build"; exit 1; }
{ nvidia-smi -L; nvidia-smi --query-gpu=driver_version,memory.total --format=csv,noheader; nvcc --version | tail -n 2; cmake --version | head -n 1; c++ --version | head -n 1; } > "$WORK/versions" 2>&1
note facts pass "$SECONDS" "torch $VERSION $VARIANT, capability $CAPABILITY"

# --- peers: they compile for minutes, beside all that is not timed ------------------------------------------------------------
QUIET=$WORK/quiet
start 'peers ahead' "$SECONDS_IN_ALL" peers.log nice "$PYTHON" "$ROOT/scripts/gpu/peers.py" --out "$WORK/peers.json" \
  --seconds $((SECONDS_IN_ALL - SECONDS - 10)) --quiet "$QUIET"

# --- Node, for the addon alone ---------------------------------------------------------------------------------------------
NODE=$(command -v "${NODE:-node}" || echo '')
MODULES=$ROOT/node_modules
if { [ -z "$NODE" ] || [ ! -d "$MODULES/tsx" ]; } && [ -f "$NODE_ARCHIVE" ]; then
  mkdir -p "$BUILD/node"
  run unpack 30 build.log tar --extract --file "$NODE_ARCHIVE" -C "$BUILD/node"
  [ "$STATUS" = 0 ] && NODE=$BUILD/node/bin/node MODULES=$BUILD/node/node_modules
fi
TARGETS=(cuda_kernel_tests gpu_tests gpu_bench cuda_kernel_bench)
ADDON=()
if [ -n "$NODE" ] && [ -d "$MODULES/node-api-headers" ] && [ -d "$MODULES/tsx" ]; then
  ADDON=(-DNODE_API_HEADERS="$MODULES/node-api-headers/include" -DNODE_ADDON_API="$MODULES/node-addon-api")
  TARGETS+=(node_diffusers)
fi

# --- build -----------------------------------------------------------------------------------------------------------------
ARCHITECTURE=$CAPABILITY
[ "$CAPABILITY" = none ] && ARCHITECTURE=90
CONFIGURE=(cmake -S "$ROOT" -B "$BUILD" -DCMAKE_BUILD_TYPE=Release -DLIBTORCH_ROOT="$LIBTORCH" -DLIBTORCH_VERSION="$VERSION"
  -DLIBTORCH_VARIANT="$VARIANT" -DNODE_DIFFUSERS_CUDA=ON -DNODE_DIFFUSERS_TESTS=ON -DNODE_DIFFUSERS_BENCH=ON
  -DCMAKE_CUDA_ARCHITECTURES="$ARCHITECTURE-real" -DCMAKE_CUDA_COMPILER="$(command -v nvcc || echo nvcc)"
  ${ADDON[@]+"${ADDON[@]}"})
if command -v ccache > /dev/null; then
  CONFIGURE+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  export CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
fi
command -v ninja > /dev/null && CONFIGURE+=(-G Ninja)
run configure 60 build.log "${CONFIGURE[@]}"
# What does not compile does not keep the rest from being built.
KEEP_GOING=(-k)
[ -f "$BUILD/build.ninja" ] && KEEP_GOING=(-k 0)
[ "$STATUS" = 0 ] && run build 240 build.log cmake --build "$BUILD" --parallel "$JOBS" --target "${TARGETS[@]}" -- "${KEEP_GOING[@]}"
KERNEL_TESTS=$(find "$BUILD" -name cuda_kernel_tests -type f | head -n 1)
KERNEL_BENCH=$(find "$BUILD" -name cuda_kernel_bench -type f | head -n 1)

# --- tests -----------------------------------------------------------------------------------------------------------------
# The kernels' tests have no skip of their own.
kernel_tests() {
  local output status=0
  output=$("$@" 2>&1) || status=$?
  printf '%s\n' "$output"
  if grep -qE 'no CUDA-capable device|driver version is insufficient' <<< "$output"; then
    echo 'no CUDA device'
    return 77
  fi
  return $status
}
export -f kernel_tests

# Each file a process: what takes the device down for one does not for the others. They share the GPU. What is not done in
# time is ended, and says how far it came.
gpu_tests() { # SECONDS PROGRAM SOURCES WORK
  local file name worst=0 seconds=$1
  shift
  for file in "$2"/*_test.cpp; do
    name=$(basename "$file" .cpp)
    # Threads that wait must not spin: together they are more than the cores.
    (OMP_WAIT_POLICY=passive timeout --foreground -k 2 "$seconds" "$1" "$name" > "$3/$name.log" 2>&1; echo $? > "$3/$name.status") &
  done
  wait
  for file in "$3"/gpu_*.status; do
    name=$(basename "$file" .status)
    printf -- '-- %s: status %s\n' "$name" "$(cat "$file")"
    cat "$3/$name.log"
  done
  worst=$(cat "$3"/gpu_*.status | sort -n | uniq | tr '\n' ' ')
  if [ "$worst" = '77 ' ]; then echo 'no CUDA device'; return 77; fi
  echo "$(cat "$3"/gpu_*.log | grep -cE '^FAILED ') tests failed in $(grep -Lx 0 "$3"/gpu_*.status | wc -l) of $(find "$3" -name 'gpu_*.status' | wc -l) files"
  [ "$worst" = '0 ' ]
}
export -f gpu_tests

if [ -x "$KERNEL_TESTS" ]; then
  run 'kernel tests' 60 tests.log bash -c 'kernel_tests "$@"' _ "$KERNEL_TESTS"
else
  note 'kernel tests' fail 0 'not built'
fi
# compute-sanitizer over the kernels' tests, beside the others: nothing is timed here.
SANITIZER=$(command -v compute-sanitizer || echo '')
RUNNING=()
sanitize() { # NAME LIMIT TOOL [FILE]: a part of its own
  local name=$1 limit=$2 tool=$3
  shift 3
  if [ "$CAPABILITY" = none ]; then
    note "$name" skip 0 'no CUDA device'
  elif [ -z "$SANITIZER" ]; then
    note "$name" skip 0 'no compute-sanitizer'
  elif [ ! -x "$KERNEL_TESTS" ]; then
    note "$name" fail 0 'not built'
  else
    start "$name" "$limit" sanitizer.log "$SANITIZER" --tool "$tool" --error-exitcode 9 --print-limit 20 "$KERNEL_TESTS" "$@"
    RUNNING+=("$name")
  fi
}
sanitize memcheck 100 memcheck
sanitize 'racecheck norm' 100 racecheck device_group_norm_test
sanitize 'racecheck split-k' 100 racecheck device_split_k_test
sanitize 'racecheck narrow' 100 racecheck device_narrow_test
if [ -x "$BUILD/gpu_tests" ]; then
  GPU_SECONDS=$((SECONDS_IN_ALL - SECONDS))
  [ "$GPU_SECONDS" -gt 125 ] && GPU_SECONDS=125
  run 'gpu tests' "$GPU_SECONDS" tests.log bash -c 'gpu_tests "$@"' _ $((GPU_SECONDS > 15 ? GPU_SECONDS - 10 : 5)) "$BUILD/gpu_tests" "$ROOT/test/native/gpu" "$WORK"
else
  note 'gpu tests' fail 0 'not built'
fi

# --- the addon: from a copy of the package, as build/Release may be another addon's. What it times is rough: others run beside it ----
if [ ${#ADDON[@]} = 0 ]; then
  note addon skip 0 'no Node, or no node_modules; scripts/gpu/pack-node.mjs packs both'
elif [ ! -f "$BUILD/Release/node_diffusers.node" ]; then
  note addon fail 0 'not built'
elif [ "$CAPABILITY" = none ]; then
  note addon skip 0 'no CUDA device; scripts/gpu/build.sh builds it without one'
else
  PACKAGE=$WORK/package
  mkdir -p "$PACKAGE/build" "$PACKAGE/scripts"
  cp -r "$ROOT/ts" "$ROOT/package.json" "$ROOT/tsconfig.json" "$PACKAGE"
  cp -r "$ROOT/scripts/gpu" "$PACKAGE/scripts"
  ln -s "$ROOT/models" "$ROOT/test" "$PACKAGE"
  ln -s "$MODULES" "$PACKAGE/node_modules"
  ln -s "$BUILD/Release" "$PACKAGE/build/Release"
  start addon 120 tests.log bash -c 'cd "$1" && exec "$2" --import tsx scripts/gpu/with-gpu.ts cuda "$3"' _ "$PACKAGE" "$NODE" "$OUT/samples.png"
  RUNNING+=(addon)
fi
for name in ${RUNNING[@]+"${RUNNING[@]}"}; do finish "$name"; done

# What has compiled so far is measured now, or in a moment.
for _ in {1..45}; do
  [ -e "$QUIET.ready" ] || [ $((SECONDS_IN_ALL - SECONDS)) -lt 150 ] || ! kill -0 "${PIDS['peers ahead']}" 2> /dev/null && break
  sleep 1
done
touch "$QUIET"
finish 'peers ahead'

# --- benchmarks --------------------------------------------------------------------------------------------------------------
BENCH_SECONDS=$(((SECONDS_IN_ALL - SECONDS) * 4 / 10))
[ "$BENCH_SECONDS" -gt 95 ] && BENCH_SECONDS=95
if [ -x "$BUILD/gpu_bench" ]; then
  run 'gpu bench' $((BENCH_SECONDS + 35)) bench.log "$BUILD/gpu_bench" "$WORK/bench.json" "$BENCH_SECONDS" 0.3
else
  note 'gpu bench' fail 0 'not built'
fi
if [ "$CAPABILITY" = none ] || [ ! -x "$KERNEL_BENCH" ]; then
  note 'kernel bench' skip 0 'no CUDA device, or not built'
else
  run 'kernel bench' 40 bench.log "$KERNEL_BENCH" "$WORK/kernels.json"
fi
PEERS_SECONDS=$((SECONDS_IN_ALL - SECONDS - 10))
run peers $((PEERS_SECONDS + 8)) peers.log "$PYTHON" "$ROOT/scripts/gpu/peers.py" --out "$WORK/peers.json" \
  --seconds "$PEERS_SECONDS" --arm-seconds 130

write_report
echo
[ "$CAPABILITY" = none ] || grep -hA 3 '^FAILED' "$OUT/tests.log" | cut -c1-300 | head -n 60
for log in bench peers; do [ -f "$OUT/$log.log" ] && grep -v '^==' "$OUT/$log.log" | cut -c1-140 | head -n 70; done
cat "$OUT/summary.txt"
! cut -f 2 "$PARTS" | grep -qx fail
