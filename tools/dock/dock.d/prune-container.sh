# shellcheck shell=sh
# dock container prune: all that do not run.
force='' filters=''
while [ $# -gt 0 ]; do
    case $1 in
        -f | --force) force=1 ;;
        --filter) [ $# -gt 1 ] || misuse "flag needs an argument: $1"; quote "$1" "$2"; filters="$filters $quoted"; shift ;;
        --filter=*) quote "$1"; filters="$filters $quoted" ;;
        --*) misuse "unknown flag: $1" ;;
        -?*) misuse "unknown shorthand flag: '${1#-}' in $1" ;;
        *) say "dock: 'dock container prune' accepts no arguments."; say "See 'dock container prune --help'."; exit 1 ;;
    esac
    shift
done
confirm 'This will remove all stopped containers.'
stopped=$(eval "ctr-ls --all --quiet --no-trunc --filter status=created --filter status=exited --filter status=dead $filters")
[ -n "$stopped" ] || exit 0
[ -n "$DOCK_DRY" ] || echo 'Deleted Containers:'
# shellcheck disable=SC2086 # IDs
run ctr-rm $stopped
