# shellcheck shell=sh
# shellcheck disable=SC2154 # options sets it
# dock image prune: the images themselves, their blobs, and the unpacked layers of which nobody is left.
if [ -n "$opt_all" ]; then confirm 'This will remove all images without at least one container associated to them.'
else confirm 'This will remove all dangling images.'; fi
eval "stage img-rm --prune ${opt_all:+--all} $filters"
answer
