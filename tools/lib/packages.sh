# Debian packages that the scripts need. To be sourced; quick when all of them are there.
# shellcheck shell=bash
# shellcheck disable=SC2034  # the lists are for the scripts that source this

build_packages=(g++ cmake ninja-build ccache lld pkg-config libuv1-dev nlohmann-json3-dev libspdlog-dev libyaml-cpp-dev
  doctest-dev node-llhttp libcli11-dev libcurl4-openssl-dev libsqlite3-dev libxxhash-dev prometheus-cpp-dev python3)
test_packages=(python3 nodejs python3-jsonschema python3-yaml python3-prometheus-client bubblewrap)
unpacked_test_packages=(prometheus)
browser_package=chromium-headless-shell # the dashboard's; unpacked too, with the libraries that are missing here
sanitize_packages=(valgrind clang-19 libclang-rt-19-dev)
lint_packages=(clang-19 clang-tidy-19 clang-format-19 shellcheck python3)
coverage_packages=(gcovr)
vm_packages=(qemu-system-x86 busybox-static e2fsprogs python3)

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

is_installed() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null || { echo "needs root or sudo: $*" >&2; return 1; }
    sudo "$@"
  fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Installs those of the packages that are missing; fails when one cannot be had.
install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "no Debian packages here, going on with what is there; needed: $*" >&2
    return 0
  fi
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  echo "installing ${missing[*]}" >&2
  apt update >&2 && apt install -y --no-install-recommends "${missing[@]}" >&2
}

need_packages() {
  install_packages "$@" || die "cannot install what is needed: $*"
}

# Puts the files of packages below the directory, without installing them: nothing of theirs is started (prometheus would
# be, as a service) and nothing they recommend comes along. Fails when one cannot be had.
unpack_packages() {
  local to=$1 package scratch
  shift
  for package in "$@"; do
    [[ -d $to/$package ]] && continue
    echo "unpacking $package" >&2
    scratch=$(mktemp -d)
    if (cd "$scratch" && { apt-get -qq download "$package" || { apt update && apt-get -qq download "$package"; }; } &&
      dpkg-deb -x ./*.deb files) >&2; then
      mkdir -p "$to" && mv "$scratch/files" "$to/$package"
    fi
    rm -rf "$scratch"
    [[ -d $to/$package ]] || return 1
  done
}

# The same for one package together with all that it needs and this machine does not have, in one directory.
unpack_with_libraries() {
  local to=$1 package=$2 scratch
  [[ -d $to/$package ]] && return
  echo "unpacking $package and what it needs" >&2
  scratch=$(mktemp -d)
  if (cd "$scratch" && { download_all "$package" || { apt update && download_all "$package"; }; } &&
    for one in ./*.deb; do dpkg-deb -x "$one" files || exit 1; done) >&2; then
    mkdir -p "$to" && mv "$scratch/files" "$to/$package"
  fi
  rm -rf "$scratch"
  [[ -d $to/$package ]]
}

# The files of a package, and of what would have to be installed with it, into the current directory. Its own parts
# (PACKAGE-common beside PACKAGE-…) even if they are installed: it looks for them beside itself.
download_all() {
  local all
  mapfile -t all < <({
    apt-get -s install --no-install-recommends "$1" 2>/dev/null | awk '/^Inst / {print $2}'
    apt-cache depends --no-recommends --no-suggests "$1" | awk -v own="${1%%-*}" '/Depends:/ && index($2, own) == 1 {print $2}'
    echo "$1"
  } | sort -u)
  timeout 300 apt-get -qq download "${all[@]}"
}
