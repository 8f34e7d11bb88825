#!/bin/bash
# Puts in place what Slipway needs on this machine: system packages (as root, on Debian and Ubuntu), Compose v2 and .venv.
# Whatever is there already is left as it is, so a second run only looks. Nothing it installs is left running.
set -euo pipefail
cd "$(dirname "$0")/../.."
# no `grep -q` below: it leaves early, which pipefail takes for a failure of the command before it
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin

main() {
  local wanted
  wanted=$(missing_packages)
  if [ -n "$wanted" ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
      install_packages $wanted
    else
      echo "not installed here, and installing it takes root on Debian or Ubuntu: $wanted" >&2
    fi
  fi
  make_venv
  compose_works || install_compose
}

has() { command -v "$1" >/dev/null 2>&1; }

# One package a line of what is not there. Programs are looked for, not packages: Docker's own packages do as well.
missing_packages() {
  has dockerd || echo docker.io
  has containerd || has docker-containerd || echo containerd
  has runc || echo runc
  has docker || echo docker-cli
  has iptables || echo iptables
  has sshd || echo openssh-server
  has ip || echo iproute2
  has git || echo git
  has caddy || echo caddy
  has docker-registry || echo docker-registry
  has mkfs.ext4 || echo e2fsprogs
  has losetup || echo mount
  # the tests type the documentation's commands, and run CloudFront's function
  has aws || echo awscli
  has node || echo nodejs
  busybox --list 2>/dev/null | grep -x httpd >/dev/null || echo busybox-static
  has chromium-headless-shell || has chromium || echo chromium-headless-shell
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  python >/dev/null || echo python3 python3-venv python3.11 python3.11-venv
}

# The first Python that is new enough and can make a venv.
python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3 /usr/bin/python3; do
    if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

install_packages() {
  local available=() package fresh=()
  echo "installing system packages:" $(printf '%s\n' "$@" | sort -u)
  apt-get update -qq </dev/null
  for package in $(printf '%s\n' "$@" | sort -u); do
    if apt-cache policy "$package" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null; then available+=("$package"); fi
  done
  for package in "${available[@]}"; do installed "$package" || fresh+=("$package"); done
  without_starting apt-get install -y -qq --no-install-recommends "${available[@]}"
  leave_stopped "${fresh[@]}"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Packages ask policy-rc.d before they start their service; ours says no for the length of one command.
without_starting() {
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e $policy ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  DEBIAN_FRONTEND=noninteractive "$@" </dev/null >/dev/null || { [ -z $ours ] || rm -f $policy; return 1; }
  [ -z $ours ] || rm -f $policy
}

# A service whose package came with us is not to start at the next boot either: the machine's owner did not ask for it.
leave_stopped() {
  local package unit units=()
  [ -d /run/systemd/system ] || return 0
  for package in "$@"; do
    case $package in
    docker.io) units+=(docker.service docker.socket) ;;
    containerd) units+=(containerd.service) ;;
    openssh-server) units+=(ssh.service ssh.socket) ;;
    caddy) units+=(caddy.service) ;;
    docker-registry) units+=(docker-registry.service) ;;
    esac
  done
  for unit in "${units[@]}"; do
    if systemctl list-unit-files "$unit" --no-legend 2>/dev/null | grep . >/dev/null; then
      systemctl disable --now "$unit" >/dev/null 2>&1
      echo "$unit was installed and is left off (systemctl enable --now $unit turns it on)"
    fi
  done
}

make_venv() {
  local python stamp
  python=$(python) || { echo "no Python 3.11 or newer with its venv module was found: install python3 and python3-venv" >&2; exit 1; }
  stamp=$(cat requirements.txt requirements-dev.txt | sha256sum | cut -d' ' -f1)
  [ "$(cat .venv/.installed 2>/dev/null)" = "$stamp" ] && [ -x .venv/bin/python ] && return
  echo "installing Python packages into .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt </dev/null
  echo "$stamp" >.venv/.installed
}

compose_works() {
  local folder
  for folder in ~/.docker /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker /usr/libexec/docker; do
    if "$folder/cli-plugins/docker-compose" version --short 2>/dev/null | grep -E '^v?([2-9]|[1-9][0-9])\.' >/dev/null; then return 0; fi
  done
  return 1
}

install_compose() {
  local folder=~/.docker/cli-plugins
  [ "$(id -u)" = 0 ] && folder=/usr/libexec/docker/cli-plugins
  echo "installing Docker Compose v2 into $folder"
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT  # a global one: a trap outlives its function
  .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --dest "$download" -r infra/local/compose.txt </dev/null
  .venv/bin/python -m zipfile -e "$download"/*.whl "$download"
  mkdir -p "$folder"
  # renamed into place: another run, or a deploy, may be starting it this very moment
  install -m 755 "$download"/*.data/scripts/docker-compose "$folder/.docker-compose.$$"
  mv -f "$folder/.docker-compose.$$" "$folder/docker-compose"
  "$folder/docker-compose" version
}

main
