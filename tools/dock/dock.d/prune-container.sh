# shellcheck shell=sh
# dock container prune: all that do not run.
confirm 'This will remove all stopped containers.'
# shellcheck source=tools/dock/dock.d/sizes.sh
. "$lib/sizes.sh"
find_stopped
remove_stopped
[ -n "$dry" ] || printf 'Total reclaimed space: %s\n' "$(human "$freed")"
