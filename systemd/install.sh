#!/bin/sh
# Installs pinnace from the unpacked tarball, or removes it. POSIX sh; BusyBox is enough. `install.sh --help` says how.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<'U'
usage: install.sh [--prefix DIR] [--root DIR] [--no-start] [--dry-run]
       install.sh --uninstall [--purge] [--prefix DIR] [--root DIR] [--dry-run]

  --prefix DIR   where bin/pinnace goes (/usr/local)
  --root DIR     install below this directory, for an image of a device; nothing is started
  --no-start     install, but neither enable nor start the service
  --dry-run      only say what would be done
  --uninstall    end the pods and the daemon, remove the program; settings and data stay
  --purge        with --uninstall: remove /etc/pinnace and /var/lib/pinnace too

Running it again brings the files up to date and restarts the daemon; pods do not notice. Settings are never overwritten.
U
}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

prefix=/usr/local root='' start=yes dry='' verb=install purge=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --root)
        [ $# -gt 1 ] || die "$1 needs a directory"
        case $2 in /*) ;; *) die "$1 needs an absolute directory, not $2" ;; esac
        if [ "$1" = --prefix ]; then prefix=${2%/}; else root=${2%/}; fi
        shift
        ;;
    --no-start) start='' ;;
    --dry-run) dry=yes ;;
    --uninstall) verb=uninstall ;;
    --purge) purge=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument $1" ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$verb" = uninstall ] || die "--purge goes with --uninstall"
[ -z "$root" ] || start=''

say() { echo "$*"; }

# Does it, or only says it.
run() {
    if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi
}

# put MODE FROM TO: whole or not at all, so that a running daemon's binary is replaced and not written to.
put() {
    if [ -n "$dry" ]; then
        echo "would: write $root$3"
        return
    fi
    mkdir -p "$(dirname "$root$3")"
    sed_bin "$2" >"$root$3.new"
    chmod "$1" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
    say "  $root$3"
}

# Scripts and the unit name the binary's place; this one's copy has its prefix as the default.
sed_bin() {
    case $1 in
    */pinnace) cat "$1" ;;
    */install.sh) sed -e "s|^prefix=[^ ]*|prefix=$prefix|" "$1" ;;
    *) sed -e "s|@BIN@|$prefix/bin|" -e "s|/usr/local/bin|$prefix/bin|" "$1" ;;
    esac
}

init_system() {
    if [ -n "${PINNACE_INIT:-}" ]; then
        echo "$PINNACE_INIT"
    elif [ -d "$root/run/systemd/system" ] || { [ -n "$root" ] && [ -e "$root/lib/systemd/systemd" ]; }; then
        echo systemd
    elif [ -e "$root/sbin/openrc-run" ]; then
        echo openrc
    else
        echo busybox
    fi
}

check_host() {
    [ "$(uname -s)" = Linux ] || die "pinnace needs Linux; this is $(uname -s)"
    if [ -z "$root" ] && [ -z "$dry" ] && [ "$(id -u)" != 0 ]; then
        die "must run as root; try: sudo $0"
    fi
    # Whether this processor takes the binary is best said by the binary; of an image for another device nobody can ask.
    if [ -z "$root" ] && ! "$here/pinnace" --version >/dev/null 2>&1; then
        die "the binary of this tarball ($(cat "$here/TARGET")) does not run on this machine ($(uname -m)); take another tarball"
    fi
    [ -z "$root" ] || return 0
    release=$(uname -r)
    major=${release%%.*}
    rest=${release#*.}
    minor=${rest%%[!0-9]*}
    if [ "$major" -lt 5 ] || { [ "$major" -eq 5 ] && [ "${minor:-0}" -lt 10 ]; }; then
        say "note: the kernel is $release; nothing below 5.10 has been tried"
    fi
    if [ "$init" = busybox ] && ! grep -q ' /sys/fs/cgroup' /proc/mounts && grep -qw cgroup2 /proc/filesystems; then
        : # /etc/init.d/pinnace mounts it.
    elif [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
        say "note: no cgroup v2 at /sys/fs/cgroup, so limits of pods will not be enforced"
        case $init in
        systemd) say "      (boot with systemd.unified_cgroup_hierarchy=1)" ;;
        openrc) say "      (rc_cgroup_mode=unified in /etc/rc.conf)" ;;
        esac
    elif ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
        say "note: no memory controller, so memory limits will not be enforced"
        say "      (Raspberry Pi: add cgroup_enable=memory to the line of /boot/firmware/cmdline.txt and reboot)"
    fi
}

make_group() {
    grep -q '^pinnace:' "$root/etc/group" 2>/dev/null && return
    if [ -n "$root" ]; then
        say "  the group pinnace is to be made in the image: addgroup -S pinnace"
    elif command -v groupadd >/dev/null; then
        run groupadd --system pinnace
    elif command -v addgroup >/dev/null; then
        run addgroup -S pinnace
    else
        say "note: neither groupadd nor addgroup is here: without a group pinnace only root may use the node"
    fi
}

install_it() {
    init=$(init_system)
    check_host
    say "installing pinnace $(cat "$here/VERSION") for $init:"
    put 0755 "$here/pinnace" "$prefix/bin/pinnace"
    put 0755 "$here/end-pods" "$prefix/lib/pinnace/end-pods"
    put 0755 "$here/install.sh" "$prefix/lib/pinnace/install.sh"
    if [ -e "$root/etc/pinnace/config.yaml" ]; then
        say "  $root/etc/pinnace/config.yaml stays as it is"
    else
        put 0640 "$here/config.yaml" /etc/pinnace/config.yaml
    fi
    make_group
    case $init in
    systemd)
        put 0644 "$here/pinnace.service" /etc/systemd/system/pinnace.service
        put 0644 "$here/pinnace.slice" /etc/systemd/system/pinnace.slice
        [ -n "$start" ] || return 0
        run systemctl daemon-reload
        run systemctl enable --quiet pinnace.service
        run systemctl restart pinnace.service
        ;;
    openrc)
        put 0755 "$here/pinnace.openrc" /etc/init.d/pinnace
        [ -n "$start" ] || return 0
        run rc-update add pinnace default
        run rc-service pinnace restart
        ;;
    *)
        put 0755 "$here/pinnace.busybox" /etc/init.d/pinnace
        if [ -n "$start" ] && grep -qs '^::respawn:/etc/init.d/pinnace run' /etc/inittab; then
            run /etc/init.d/pinnace restart
        else
            say "  no systemd and no OpenRC: let init start it by these lines of /etc/inittab, then kill -HUP 1:"
            say "    ::respawn:/etc/init.d/pinnace run"
            say "    ::shutdown:/etc/init.d/pinnace shutdown"
            return 0
        fi
        ;;
    esac
    say "it runs; ask it: pinnace get nodes, pinnace doctor"
}

uninstall_it() {
    [ -n "$root" ] || [ -n "$dry" ] || [ "$(id -u)" = 0 ] || die "must run as root; try: sudo $0 --uninstall"
    init=$(init_system)
    [ -e "$root$prefix/bin/pinnace" ] || die "there is no $root$prefix/bin/pinnace; see --prefix and --root"
    if [ -z "$root" ]; then
        case $init in
        systemd) run systemctl disable --quiet --now pinnace.service || true ;;
        openrc)
            run rc-service pinnace stop || true
            run rc-update del pinnace default || true
            ;;
        *)
            [ ! -e /etc/init.d/pinnace ] || run /etc/init.d/pinnace stop || true
            say "  take the lines with /etc/init.d/pinnace out of /etc/inittab, then kill -HUP 1"
            ;;
        esac
        run "$prefix/lib/pinnace/end-pods" "$prefix/bin/pinnace"
    fi
    for file in "$prefix/bin/pinnace" "$prefix/lib/pinnace" /etc/init.d/pinnace \
        /etc/systemd/system/pinnace.service /etc/systemd/system/pinnace.slice; do
        [ ! -e "$root$file" ] || run rm -rf "$root$file"
    done
    if [ -z "$root" ]; then
        run rm -rf /run/pinnace /run/pinnace.held /run/pinnace.pid
        [ "$init" != systemd ] || run systemctl daemon-reload
    fi
    if [ -n "$purge" ]; then
        # The data may be on a disk of its own, which can be emptied and not removed.
        # (Not every BusyBox has find's -delete.)
        if [ -d "$root/var/lib/pinnace" ]; then
            run find "$root/var/lib/pinnace" -xdev -mindepth 1 ! -type d -exec rm -f {} +
            run find "$root/var/lib/pinnace" -xdev -depth -mindepth 1 -type d -exec rmdir {} +
            run rmdir "$root/var/lib/pinnace" || true
        fi
        run rm -rf "$root/etc/pinnace" "$root/etc/systemd/system/pinnace.service.d"
        say "pinnace is removed, with settings and data"
    else
        say "pinnace is removed; settings and data stay in $root/etc/pinnace and $root/var/lib/pinnace"
    fi
}

"${verb}_it"
