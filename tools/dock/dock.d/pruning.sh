# shellcheck shell=sh
# What prune commands share: the question, the filters, and the containers that do not run.

dry=$DOCK_DRY

# Docker's question; without an answer nothing is done. A question of several lines has an empty one before its last.
confirm() {
    [ -z "$opt_force$dry" ] || return 0
    printf 'WARNING! %s\nAre you sure you want to continue? [y/N] ' "$1"
    read -r answer || answer=
    case $answer in y | Y) ;; *) exit 0 ;; esac
}

# Sets $filters, quoted: those of the options that it is given.
filters() {
    filters=''
    while [ $# -gt 0 ]; do
        case $1 in
            --filter) quote "$1" "$2"; filters="$filters $quoted"; shift ;;
            --filter=*) quote "$1"; filters="$filters $quoted" ;;
        esac
        shift
    done
}

# Sets $stopped: those that the filters mean. What is wrong with one is said before anything is removed.
find_stopped() {
    stopped=$(
        # Only the looking is done in earnest.
        DOCK_DRY=''
        eval "stage ctr-ls --all --quiet --no-trunc --filter status=created --filter status=exited --filter status=dead $filters"
        answer '/^hint: /d'
    ) || exit 1
}

# Sets $freed: their bytes.
remove_stopped() {
    freed=0
    [ -n "$stopped" ] || { run ctr-rm --prune; return 0; }
    [ -n "$dry" ] || echo 'Deleted Containers:'
    # shellcheck disable=SC2086 # IDs
    freed=$(ctr-ls --inspect --size --format '{{.SizeRw}}' $stopped 2>/dev/null | awk '{ sum += $1 } END { printf("%d", sum) }')
    # shellcheck disable=SC2086 # IDs
    run ctr-rm --prune $stopped
    [ -n "$dry" ] || echo
}
