#!/usr/bin/env bash
# The one entry of ddib_jax on CPU, CUDA and TPU hosts: installs what is missing into .venv, then
# runs (./launch.sh --help).
# Written for bash 3.2, so that it runs on macOS too.

usage() {
  cat <<'EOF'
usage: ./launch.sh                     do the main job: fives into sevens, and what perturbed
                                       latents become, with pictures in runs/
       ./launch.sh --full              fives into sevens alone, with options of
                                       experiments/coloured_mnist.py
       ./launch.sh test [ARGUMENT...]  run the tests on all cores; arguments go to pytest
                                       (-n 0: in one process; -m "not slow": the fast ones)
       ./launch.sh lab [...]           open a page with an image, its latent, its translation and
                                       sliders between them
       ./launch.sh accelerator [...]   time this machine's accelerator (experiments/accelerator.py)
       ./launch.sh COMMAND [...]       run `ddib COMMAND ...` (train, translate, sweep, encode,
                                       decode, sample, diagnose, plan ...; --help after any)

The first call installs ddib_jax and JAX for this machine (TPU, NVIDIA GPU or CPU) into .venv beside
this script; later calls start at once. The main job, the tests and the timings run in the
repository, so their output is in its runs/; file names given to a COMMAND are relative to where you
are.

  DDIB_PLATFORM=cpu|cuda|cuda12|tpu   instead of what is detected (cuda12: for drivers older than
                                      580, and GPUs before Turing)
  DDIB_VENV=DIR                       another place for the environment
  PYTHON=FILE                         the Python (3.11 or newer) to make it with
EOF
}

say() { printf 'launch.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# ---- Python -------------------------------------------------------------------------------------

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

recent() { case $1 in 3.1[1-9] | 3.[2-9][0-9]) return 0 ;; *) return 1 ;; esac; }

# Sets $python to the first Python >= 3.11 that can make environments.
find_python() {
  local candidate version old='' bare=''
  set -- python3.13 python3.12 python3.11 python3 python3.14 python
  [ -z "$PYTHON" ] || set -- "$PYTHON"
  for candidate; do
    version=$(version_of "$candidate") || continue
    if ! recent "$version"; then
      old="$old${old:+, }$candidate ($version)"
    elif "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
      python=$candidate
      return
    else
      bare=${bare:-$candidate $version}
    fi
  done
  if [ -n "$bare" ]; then
    die "${bare% *} cannot make a virtual environment: its venv module is missing" \
      "(on Debian and Ubuntu: sudo apt install python${bare##* }-venv)."
  elif [ -n "$PYTHON" ]; then
    die "PYTHON=$PYTHON is not a Python 3.11 or newer: found ${old:-nothing that runs}."
  fi
  die "Python 3.11 or newer is needed, and found was ${old:-no Python at all}:" \
    "install one, or name one with PYTHON=/path/to/python3."
}

# ---- Accelerator --------------------------------------------------------------------------------

has_tpu() {
  local device product=''
  for device in /dev/accel[0-9]*; do [ -e "$device" ] && return 0; done
  for device in /dev/vfio/[0-9]*; do
    [ -e "$device" ] || continue
    [ -n "$TPU_NAME$TPU_ACCELERATOR_TYPE$TPU_WORKER_ID" ] && return 0
    { read -r product </sys/class/dmi/id/product_name; } 2>/dev/null
    case $product in Google*) return 0 ;; esac
  done
  return 1
}

# Prints the extra for this NVIDIA driver: CUDA 13 needs driver 580 and compute capability 7.5,
# CUDA 12 needs driver 525.
nvidia_extra() {
  local rows driver capability extra=cuda
  rows=$(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null) &&
    [ -n "$rows" ] || return 1
  while IFS=', ' read -r driver capability; do
    if [ "${driver%%.*}" -lt 525 ] 2>/dev/null; then
      say "the NVIDIA driver $driver is too old for JAX, which needs 525 or newer: using the CPU."
      return 1
    fi
    if [ "${driver%%.*}" -lt 580 ] 2>/dev/null || [ "${capability/./}" -lt 75 ] 2>/dev/null; then
      extra=cuda12
    fi
  done <<<"$rows"
  echo "$extra"
}

# Sets $accelerator to the extra of setup.cfg that this machine needs: tpu, cuda, cuda12 or, for the
# CPU, nothing.
detect() {
  accelerator=''
  driver=''
  case $DDIB_PLATFORM in
    cpu) export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}" ;;
    tpu | cuda12) accelerator=$DDIB_PLATFORM ;;
    cuda) accelerator=$(nvidia_extra 2>/dev/null) || accelerator=cuda ;;
    '')
      if has_tpu; then
        accelerator=tpu
      elif command -v nvidia-smi >/dev/null; then
        # nvidia-smi can take seconds, so once it has found a GPU it is not asked again before the
        # driver changes.
        { read -r driver </proc/driver/nvidia/version; } 2>/dev/null
        if [ -n "$driver" ] && [ "$driver" = "$installed_driver" ]; then
          case $installed_extras in cuda*) accelerator=${installed_extras%% *} ;; esac
        fi
        [ -n "$accelerator" ] || accelerator=$(nvidia_extra)
      fi
      ;;
    *) die "DDIB_PLATFORM=$DDIB_PLATFORM is unknown: choose cpu, cuda, cuda12 or tpu." ;;
  esac
}

# ---- Environment --------------------------------------------------------------------------------

# The stamp is written last, so that an installation that was cut short is seen. Its lines: what was
# installed from where; the extras, the accelerator's first; the driver for which the accelerator
# was chosen.
read_stamp() {
  installed=''
  installed_extras=''
  installed_driver=''
  [ -f "$stamp" ] && {
    IFS= read -r installed
    IFS= read -r installed_extras
    IFS= read -r installed_driver
  } <"$stamp"
}

# What the stamp should say of an environment with Python $1: the requirements in setup.cfg, the
# Python, the repository.
wanted() {
  local requirements
  requirements=$(sed -n '/^\[options/,/^\[tool/p' "$root/setup.cfg" | cksum)
  printf '%s Python %s in %s' "$requirements" "$1" "$root"
}

has_python() { [ -z "$PYTHON" ] || [ "$(version_of "$PYTHON")" = "$version" ]; }

# True if the environment holds what this call needs; sets $version to the environment's Python, if
# that runs.
ready() {
  local extra
  read_stamp
  version=$(version_of "$venv/bin/python") && has_python &&
    [ "$installed" = "$(wanted "$version")" ] || return 1
  for extra in $accelerator "$@"; do
    case " $installed_extras " in *" $extra "*) ;; *) return 1 ;; esac
  done
}

# True if the environment need not be remade: whole, of the right Python, and without another
# accelerator's libraries.
sound() {
  recent "$version" && has_python || return 1
  if [ -e "$mark" ]; then
    case $installed in '' | incomplete) return 1 ;; esac
  fi
  case ${installed_extras%% *} in
    cuda | cuda12 | tpu) [ -z "$accelerator" ] || [ "$accelerator" = "${installed_extras%% *}" ] ;;
  esac
}

# Waits for any other launch.sh that installs here. The lock goes with descriptor 9, so it cannot
# outlive its holder.
lock() {
  mkdir -p "$(dirname "$venv")" 2>/dev/null
  { exec 9>"$venv.lock" && : >"$log"; } 2>/dev/null ||
    die "cannot write to $(dirname "$venv"): choose another place for the environment with" \
      "DDIB_VENV=DIR."
  "$1" -c '
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("launch.sh: waiting for another launch.sh that is installing.", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # a file system without locks
'
}

# Keeps pip's words in the log; a terminal sees the line of the moment.
follow() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" 2>/dev/null >&8
    [ -t 2 ] && printf '\r\033[K  %.76s' "$line" >&2
  done 8>"$log"
  [ -t 2 ] && printf '\r\033[K' >&2
}

# Installs what this call needs, in an environment that is made if it is missing and remade if it is
# not sound.
install() {
  local extra extras
  trap 'say "interrupted; the next call installs again."; exit 130' INT TERM
  if [ -n "$version" ]; then
    lock "$venv/bin/python"
  else
    find_python
    lock "$python"
  fi
  ready "$@" && return

  if [ -n "$(ls -A "$venv" 2>/dev/null)" ] && ! sound; then
    [ -e "$mark" ] ||
      die "$venv was not made by launch.sh and does not fit${version:+ (it has Python $version)}:" \
      "remove it, or choose another place for the environment with DDIB_VENV=DIR."
    find_python
    rm -rf "$venv"
    read_stamp
  fi
  extras=$accelerator
  for extra in $installed_extras "$@"; do
    case " $extras " in *" $extra "*) ;; *) extras="$extras${extras:+ }$extra" ;; esac
  done

  case $accelerator in
    tpu) extra='a TPU' ;;
    cuda*) extra='an NVIDIA GPU' ;;
    *) extra='the CPU' ;;
  esac
  say "installing ddib_jax and JAX for $extra into $venv (a few minutes, once) ..."
  SECONDS=0
  if [ ! -e "$venv/bin/python" ]; then
    find_python
    { mkdir -p "$venv" && : >"$mark" && "$python" -m venv "$venv"; } >"$log" 2>&1 || fail
  fi
  { echo incomplete >"$stamp"; } 2>/dev/null
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$venv/bin/python" -m ensurepip >"$log" 2>&1 || fail
  (cd "$root" &&
    exec "$venv/bin/python" -m pip install --progress-bar off --disable-pip-version-check \
    -e ".${extras:+[${extras// /,}]}") 2>&1 | follow
  [ "${PIPESTATUS[0]}" = 0 ] || fail
  version=$(version_of "$venv/bin/python")
  { printf '%s\n' "$(wanted "$version")" "$extras" "${driver:-$installed_driver}" >"$stamp.new" &&
    mv -f "$stamp.new" "$stamp"; } 2>/dev/null || fail
  trap - INT TERM
  say "installed in $SECONDS s."
}

# Ends a failed installation in one sentence. A new environment is removed; an older one is still
# what its stamp says.
fail() {
  local last full
  last=$(grep 'ERROR: ' "$log" | tail -n 1)
  last=${last:-$(grep -E '[Ee]rror: ' "$log" | tail -n 1)}
  last=${last:-$(grep -v '^ *$' "$log" | tail -n 1)}
  last="the last error was \"${last#"${last%%[! ]*}"}\", and the full log is $log."
  full=$(grep -cE 'No space left on device|Errno 28|[Qq]uota exceeded' "$log")
  dd if=/dev/zero of="$log.probe" bs=65536 count=16 2>/dev/null || full=1
  rm -f "$log.probe"
  case $installed in
    '' | incomplete) if [ -e "$mark" ]; then rm -rf "$venv"; else rm -f "$stamp"; fi ;;
    *) printf '%s\n' "$installed" "$installed_extras" "$installed_driver" >"$stamp" ;;
  esac
  [ "$full" = 0 ] ||
    die "the disk is full: $venv needs 1 GB for the CPU and several for CUDA or TPU, and" \
      "${TMPDIR:-/tmp} as much for a moment."
  if grep -qE "$unreachable" "$log"; then
    die "no package index can be reached, so check the network and the proxy; $last"
  fi
  die "the installation failed; $last"
}
unreachable='NewConnectionError|NameResolutionError|Failed to resolve|name resolution'
unreachable="$unreachable|Network is unreachable|Connection (refused|reset)|[Tt]imed out"
unreachable="$unreachable|Max retries|ProxyError|SSLError|setuptools.* versions: none"

# Makes the environment ready for this call; the extras given are needed besides the accelerator's.
setup() {
  read_stamp
  detect
  ready "$@" && return
  install "$@"
  exec 9>&-
}

# ---- What was asked for -------------------------------------------------------------------------

script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
  link=$(readlink "$script")
  case $link in /*) script=$link ;; *) script=$(dirname "$script")/$link ;; esac
done
root=$(CDPATH='' cd -P -- "$(dirname "$script")" && pwd) || die "cannot find the folder of $script."
venv=${DDIB_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
stamp=$venv/.ddib-installed
mark=$venv/.made-by-launch # only an environment with this mark is ever deleted
log=$venv.log

case ${1-} in
  -h | --help | help)
    usage
    ;;
  test)
    shift
    setup test
    # A file a process, as many processes as cores, and no more than memory is sure to hold.
    cd "$root" && exec "$venv/bin/python" -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
    ;;
  '' | -*)
    setup
    # On a CPU XLA keeps about one core busy with a network of this size, so each of up to four
    # cores is made a device.
    cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null) || cores=1
    [ "$cores" -le 4 ] || cores=4
    devices=--xla_force_host_platform_device_count=$cores
    [ -n "$accelerator" ] || export XLA_FLAGS="${XLA_FLAGS:-$devices}"
    cd "$root" && "$venv/bin/python" experiments/coloured_mnist.py "$@" || exit
    [ $# = 0 ] || exit 0
    exec "$venv/bin/python" experiments/perturbations.py --quick
    ;;
  accelerator)
    shift
    setup
    cd "$root" && exec "$venv/bin/python" experiments/accelerator.py "$@"
    ;;
  lab)
    setup lab
    exec "$venv/bin/ddib" "$@"
    ;;
  *)
    setup
    exec "$venv/bin/ddib" "$@"
    ;;
esac
