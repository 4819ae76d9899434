# shellcheck shell=sh
# dock system prune: what is unused of everything.
options 'a|all f|force volumes filter=' "$@"
want 0 0 "$count"
# shellcheck source=tools/dock/dock.d/pruning.sh
. "$lib/pruning.sh"
eval "filters $words"
case $opt_volumes$filters in
    1*until=*) say 'ERROR: The "until" filter is not supported with "--volumes"'; exit 1 ;;
esac

# answer, with the total for later: there is one for all. It cannot end the line of who is not in its subshell.
sweep() {
    text=$(answer) || { code=$?; [ -z "$text" ] || printf '%s\n' "$text"; exit "$code"; }
    line='' shown=$(printf '%s\n' "$text" | sed '/^Total/d')
    [ -z "$shown" ] || printf '%s\n\n' "$shown"
    totals="$totals
$(printf '%s\n' "$text" | sed -n '/^Total/p')"
}

warning='This will remove:
  - all stopped containers
'
[ -z "$opt_volumes" ] || warning="$warning  - all anonymous volumes not used by at least one container
"
if [ -n "$opt_all" ]; then
    warning="$warning  - all images without at least one container associated to them
  - all build cache
"
else
    warning="$warning  - all dangling images
  - all dangling build cache
"
fi
confirm "$warning"
find_stopped
remove_stopped
totals=${freed}B
[ -z "$opt_volumes" ] || { eval "stage ctr-vol --prune $filters"; sweep; }
eval "stage img-rm --prune ${opt_all:+--all} $filters"
sweep
# A step of the cache has no labels.
case $filters in *label*) ;; *) eval "stage dfile-cache --prune ${opt_all:+--all} $filters"; sweep ;; esac
[ -n "$dry" ] || printf 'Total reclaimed space: %s\n' "$(human "$(printf '%s\n' "$totals" | in_bytes)")"
