#!/usr/bin/env bash
# The whole GPU table in one call of under 8 minutes: every engine, both networks, 512 to 4K.
#
#   scripts/measure/benchmark_gpu.sh [OUT]             on a GPU, writes OUT/benchmark.md and .json
#   DEVICE=cpu scripts/measure/benchmark_gpu.sh OUT    a rehearsal on a CPU, at one small size
#   PYTHON=python3 scripts/measure/benchmark_gpu.sh    with another interpreter than .venv's
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmark}
device=${DEVICE:-cuda}
engines=fst,fst-fp32,fst-compiled,pt2-half
sizes=512,720p,1080p,4k
if [ "$device" = cpu ]; then sizes=256; fi
python=${PYTHON:-.venv/bin/python}
# onnxruntime only where its CUDA build is there: the CPU's would be measured in its place.
if "$python" -c 'import onnxruntime as o, sys; sys.exit("CUDAExecutionProvider" not in o.get_available_providers())' 2>/dev/null; then
    engines=$engines,onnxruntime,onnxruntime-half
fi
timeout 480 "$python" -m fst benchmark --networks johnson,fast --sizes "$sizes" \
    --engines "$engines" --device "$device" --rounds 15 --output "$out"
