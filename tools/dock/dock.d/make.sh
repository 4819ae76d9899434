# shellcheck shell=sh
# How run and create make a container: an image, which is pulled when it has to be, and a bundle from it, by the
# options that container.sh has sorted.

# Pulls when docker would.
provide() {
    case ${1##*/} in *[:@]*) name=$1 ;; *) name=$1:latest ;; esac
    case $pull in
        never) return 0 ;;
        missing)
            ! have_image "$1" || return 0
            say "Unable to find image '$name' locally"
            ;;
    esac
    stage img-pull --format docker ${quiet:+--quiet} ${platform:+--platform "$platform"} "$name"
    append '>&2'
    go
}

# Makes the container of IMAGE [ARG...] and sets $id and $bundle. A failure leaves nothing and is 125.
make() {
    image=$1
    shift
    [ -z "$cidfile" ] || [ ! -e "$cidfile" ] ||
        die "container ID file found, make sure the other container isn't running or delete $cidfile" 125
    provide "$image" || exit 125
    new_id
    bundle=${DOCK_ROOT:-$(dock_root)}/containers/$id
    trap abandon EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    stage img-unpack --overlay ${platform:+--platform "$platform"} "$image" "$bundle"
    stage ctr-spec
    append "${spec# }"
    [ $# -eq 0 ] || { quote "$@"; append "-- $quoted"; }
    append '>/dev/null'
    go || exit 125
    [ -z "$cidfile" ] || { stage printf %s "$id"; quote "$cidfile"; append "> $quoted"; go || exit 125; }
    trap - EXIT HUP INT TERM
}

# Sets $id to 64 hex digits. The kernel's random UUIDs take no process to read, and what is fixed in them lies
# behind the 12 digits of a short ID.
new_id() {
    read -r one </proc/sys/kernel/random/uuid
    read -r two </proc/sys/kernel/random/uuid
    id='' rest=$one-$two-
    while [ -n "$rest" ]; do id=$id${rest%%-*} rest=${rest#*-}; done
}

abandon() { [ -n "$DOCK_DRY" ] || [ ! -e "$bundle" ] || ctr-rm --force "$id" >/dev/null; }
