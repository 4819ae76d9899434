# shellcheck shell=sh
# dock image prune: the images themselves, their blobs, and the unpacked layers of which nobody is left.
all='' force='' filters=''
while [ $# -gt 0 ]; do
    case $1 in
        -a | --all) all=1 ;;
        -f | --force) force=1 ;;
        -af | -fa) all=1 force=1 ;;
        --filter) [ $# -gt 1 ] || misuse "flag needs an argument: $1"; quote "$1" "$2"; filters="$filters $quoted"; shift ;;
        --filter=*) quote "$1"; filters="$filters $quoted" ;;
        --*) misuse "unknown flag: $1" ;;
        -?*) misuse "unknown shorthand flag: '${1#-}' in $1" ;;
        *) say "dock: 'dock image prune' accepts no arguments."; say "See 'dock image prune --help'."; exit 1 ;;
    esac
    shift
done
if [ -n "$all" ]; then confirm 'This will remove all images without at least one container associated to them.'
else confirm 'This will remove all dangling images.'; fi
stage img-rm --prune ${all:+--all}
append "${filters# }"
go
