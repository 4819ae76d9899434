# shellcheck shell=sh
# What the commands of dock share: one way to run tools, which can show what it runs.

say() { printf '%s\n' "$*" >&2; }
die() { say "dock: $1"; exit "${2:-1}"; }

# Sets $quoted to the words as a shell reads them back.
quote() {
    quoted=
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=@%+,-]*)
                text=
                while [ "$word" != "${word#*\'}" ]; do
                    text=$text${word%%\'*}"'\\''"
                    word=${word#*\'}
                done
                word="'$text$word'"
                ;;
        esac
        quoted=${quoted:+$quoted }$word
    done
}

# A pipe is put together as one line of shell, stage by stage; go shows that line and evaluates the very same.
# go exec: this shell becomes the line's only tool, so that signals reach it.
line=
stage() { quote "$@"; line=${line:+$line | }$quoted; }
append() { line="$line $1"; }
go() {
    set -- "$line" "${1-}"
    line=
    [ -z "$DOCK_DRY" ] || { printf '%s\n' "$1"; return 0; }
    [ -z "$DOCK_TRACE" ] || say "$1"
    eval "$2 $1"
}
run() { stage "$@"; go; }

# Who asks and where everything is kept, as the tools decide it; to ask id(1) would be a tenth of a dock run.
while read -r field _ euid _; do [ "$field" != Uid: ] || break; done </proc/self/status
dock_root=${DOCK_ROOT-}
[ -n "$dock_root" ] || case $euid in 0) dock_root=/var/lib/dock ;; *) dock_root=${XDG_DATA_HOME:-${HOME-}/.local/share}/dock ;; esac

# Whether it is here whole. Its configuration is asked for: what docker prints takes a look at every image there is.
have_image() { img-inspect --raw config "$@" >/dev/null 2>&1; }

# More stages: the ID of the image whose record comes down the pipe. grep fails where none comes: the last
# stage's exit code is the pipe's.
image_id() { stage img-inspect; stage sed 's/^{"Id":"\([^"]*\)".*/\1/'; stage grep .; }

# One more stage: objects, one a line, become the JSON array that docker prints.
# shellcheck disable=SC2016 # a sed script
array() { stage sed '1s/^/[/; $!s/$/,/; $s/$/]/'; }

# shellcheck source=tools/dock/dock.d/words.sh
. "$lib/words.sh"
# shellcheck source=tools/dock/dock.d/options.sh
. "$lib/options.sh"
