#!/bin/sh
# Searches the parsers of untrusted files with libFuzzer and AddressSanitizer: scripts/fuzz.sh [SECONDS per target, 60].
# Needs clang and a built addon, whose libtorch is used. A finding lies in build/fuzz/; add it to test/fuzz/corpus once fixed.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
cached() { sed -n "s/^$1:[A-Z]*=//p" build/CMakeCache.txt; }
cmake -S . -B build/fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER="${CXX:-clang++}" \
  -DNODE_DIFFUSERS_FUZZ=ON -DLIBTORCH_ROOT="$(cached LIBTORCH_ROOT)" \
  -DLIBTORCH_INCLUDE="$(cached LIBTORCH_INCLUDE)" -DLIBTORCH_LIB="$(cached LIBTORCH_LIB)" > /dev/null
cmake --build build/fuzz --target fuzz --parallel 2
for target in safetensors pickle unet_config; do
  mkdir -p "build/fuzz/corpus/$target"
  ASAN_OPTIONS=detect_odr_violation=0 LSAN_OPTIONS=suppressions=test/native/lsan.supp OMP_NUM_THREADS=1 \
    "build/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=16384 \
    -artifact_prefix="build/fuzz/$target-" "build/fuzz/corpus/$target" "test/fuzz/corpus/$target"
done
