# shellcheck shell=sh
# How run and create make a container: an image, which is pulled when it has to be, and a bundle from it, by the
# options that container.sh has sorted.

# Docker's client says where to read on unless it only passes on what its daemon says.
give_up() { [ "$1" != 125 ] || say "See 'dock $called --help'."; exit "$1"; }

# What docker's client says itself, and its exit code.
own_words() { say "${DOCK_ERROR_PREFIX%Error*}$1"; give_up "$failed"; }

# Pulls when docker would.
provide() {
    case ${1##*/} in *[:@]*) name=$1 ;; *) name=$1:latest ;; esac
    case ${opt_pull:-missing} in
        never) have_image ${opt_platform:+--platform "$opt_platform"} "$1" || { say "${DOCK_ERROR_PREFIX}No such image: $name"; return 1; }; return 0 ;;
        missing)
            ! have_image ${opt_platform:+--platform "$opt_platform"} "$1" || return 0
            check_reference "$1"
            say "Unable to find image '$name' locally"
            ;;
    esac
    stage img-pull --format docker ${opt_quiet:+--quiet} ${opt_platform:+--platform "$opt_platform"} "$name"
    append '>&2'
    go
}

# Nobody is asked for what cannot be a name.
check_reference() {
    case $1 in '' | *[!A-Za-z0-9_./:@-]*) own_words 'invalid reference format' ;; esac
    repository=${1%@*}
    case ${repository##*/} in *:*) repository=${repository%:*} ;; esac
    case ${repository##*/} in '' | *:*) own_words 'invalid reference format' ;; esac
    case $repository in *[A-Z]*) own_words 'invalid reference format: repository name must be lowercase' ;; esac
}

# Makes the container of IMAGE [ARG...] and sets $id and $bundle. A failure leaves nothing and is $failed.
make() {
    image=$1
    shift
    [ -z "$opt_cidfile" ] || [ ! -e "$opt_cidfile" ] ||
        own_words "container ID file found, make sure the other container isn't running or delete $opt_cidfile"
    bundle=''
    trap abandon EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    [ -z "$opt_cidfile" ] || [ -n "$DOCK_DRY" ] || (: >"$opt_cidfile") 2>/dev/null ||
        own_words "failed to create the container ID file: open $opt_cidfile: no such file or directory"
    new_id
    bundle=$dock_root/containers/$id
    assemble "$@" || give_up "$((failed == 1 && $? == 1 ? 1 : 125))"
    [ -z "$opt_cidfile" ] || { stage printf %s "$id"; quote "$opt_cidfile"; append "> $quoted"; go || exit 125; }
    trap - EXIT HUP INT TERM
}

# The bundle of $image [ARG...]. Whether the image has to be pulled is asked only when it did not work without: a process
# less where it is there.
assemble() {
    if [ "${opt_pull:-missing}$DOCK_DRY" = missing ]; then
        unpack --if-there "$@" && return
        code=$?
        [ "$code" -eq 1 ] && ! have_image ${opt_platform:+--platform "$opt_platform"} "$image" || return "$code"
    fi
    provide "$image" || give_up "$failed"
    unpack '' "$@"
}

unpack() {
    stage img-unpack --overlay ${1:+"$1"} ${opt_platform:+--platform "$opt_platform"} "$image" "$bundle"
    shift
    stage ctr-spec
    append "${words# }"
    [ $# -eq 0 ] || { quote "$@"; append "-- $quoted"; }
    append '>/dev/null'
    go
}

# Sets $id to 64 hex digits. The kernel's random UUIDs take no process to read, and what is fixed in them lies
# behind the 12 digits of a short ID.
new_id() {
    read -r one </proc/sys/kernel/random/uuid
    read -r two </proc/sys/kernel/random/uuid
    id='' rest=$one-$two-
    while [ -n "$rest" ]; do id=$id${rest%%-*} rest=${rest#*-}; done
}

abandon() {
    [ -z "$DOCK_DRY" ] || return 0
    [ -z "$opt_cidfile" ] || [ -s "$opt_cidfile" ] || rm -f -- "$opt_cidfile"
    [ ! -e "$bundle" ] || ctr-rm --force "$id" >/dev/null
}
