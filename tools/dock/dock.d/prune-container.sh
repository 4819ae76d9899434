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
# shellcheck source=tools/dock/dock.d/sizes.sh
. "$lib/sizes.sh"
stopped=$(
    # shellcheck disable=SC2030 # only the looking is done in earnest
    DOCK_DRY=''
    eval "stage ctr-ls --all --quiet --no-trunc --filter status=created --filter status=exited --filter status=dead $filters"
    answer '/^hint: /d'
) || exit 1
# shellcheck disable=SC2031 # as it was
dry=$DOCK_DRY freed=0
if [ -n "$stopped" ]; then
    [ -n "$dry" ] || echo 'Deleted Containers:'
    # shellcheck disable=SC2086 # IDs
    freed=$(ctr-ls --inspect --size --format '{{.SizeRw}}' $stopped | awk '{ sum += $1 } END { printf("%d", sum) }')
    # shellcheck disable=SC2086 # IDs
    run ctr-rm $stopped
    [ -n "$dry" ] || echo
fi
[ -n "$dry" ] || printf 'Total reclaimed space: %s\n' "$(human "$freed")"
