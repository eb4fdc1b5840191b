# Sourced by the lab's scripts: where the lab lives, and how its processes are told apart.
#
# Everything that the lab makes is under $LAB; nothing outside it is changed, but for an address of the loopback
# interface while it is up. A process is the lab's
# own only if its pid was written down here and its command line still names $LAB.
# shellcheck shell=bash

export LC_ALL=C
export LAB=${LAB:-/tmp/shoal-lab}
RUN=$LAB/run
# On the loopback interface: what a guest with a network card and its BMC both reach (xtask/src/lab/task.rs).
# shellcheck disable=SC2034  # of those that source this
ADDRESS=198.18.83.2
SOCKET=$RUN/libvirt-sock
LIBVIRT_URI="qemu:///system?socket=$SOCKET"

# die MESSAGE: says it and ends the script.
die() {
  echo "lab: $*" >&2
  exit 1
}

# alive PIDFILE: whether the process written down there still runs and is the lab's.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$LAB"
}

# stop PIDFILE: ends that process, by force after ten seconds.
stop() {
  local pid tries
  if alive "$1"; then
    pid=$(cat "$1")
    kill "$pid"
    for ((tries = 0; tries < 100; tries++)); do
      [ -d "/proc/$pid" ] || break
      sleep 0.1
    done
    [ ! -d "/proc/$pid" ] || kill -9 "$pid"
  fi
  rm -f "$1"
}

# until_true SECONDS COMMAND...: waits for a command to succeed, and fails when it does not in time.
until_true() {
  local tries limit=$(($1 * 5))
  shift
  for ((tries = 0; tries < limit; tries++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  return 1
}

# drop_inherited: closes what the caller had open, a lock say, before daemons are started that outlive it.
drop_inherited() {
  local descriptor
  for descriptor in /proc/$BASHPID/fd/*; do
    descriptor=${descriptor##*/}
    # 255 is where bash reads its script.
    if ((descriptor > 2 && descriptor != 255)); then exec {descriptor}>&-; fi
  done
}

virsh_() { virsh -q -c "$LIBVIRT_URI" "$@"; }
