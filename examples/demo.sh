#!/bin/sh
# The main job, seen from both sides: what two Pods of 3000 MiB see on one simulated Tesla T4, and what the device really gave.
# Leaves nothing behind. Needs `hami` on PATH, which `make demo` puts there.
set -eu

HAMI_STATE_DIR=$(mktemp -d)
export HAMI_STATE_DIR HAMI_MACHINE=t4-node
trap 'rm -rf "$HAMI_STATE_DIR"' EXIT INT TERM
here=$(dirname "$0")

say() { printf '\n%s\n' "$1"; }

say 'One simulated machine with one Tesla T4:'
hami devices

say 'Two Pods at once, each with nvidia.com/gpumem: 3000. Both hold all they can get until the other one does, too:'
HAMI_PROBE_BARRIER="$HAMI_STATE_DIR/barrier 2" hami play "$here/gpu-pod.yaml" "$here/gpu-pod.yaml"

say 'The truth, as the simulated driver counted it beside hami: at the peak both shares were full at once. Of each 3000 MiB the'
echo 'programs had 2897 to the byte, and 103 were their contexts; the driver rounds a last piece up:'
hami mock truth
hami mock truth -o json | grep -q '"requested_peak": 6075449344' || { say 'That is not 2 x 2897 MiB: the demo has failed.'; exit 1; }
say 'The same with your own program:  .venv/bin/hami --machine t4-node run --gpumem 3000 -- hami-probe'
