# shellcheck shell=sh
# Help, made from the headers of the commands' files: Summary, Usage, Also (the names in groups), and their Options.

# The text after a header word in a command's file.
header() {
    sed -n "s/^# $1: //p" "$lib/$2"
}

# One line a command, of `NAME SUMMARY` lines.
columns() {
    while read -r name text; do printf '  %-11s %s\n' "$name" "$text"; done
}

summary() {
    printf '%s\n\n%s\n\n%s\n' 'Usage:  dock [OPTIONS] COMMAND' \
        'Containers without a daemon, by small tools and pipes' 'Options:'
    printf '%s\n' '  -n, --dry-run  Only print what would be done, as a shell script' \
        '      --trace    Print each line before it is run' '  -v, --version  Print the version'
    printf '\n%s\n' 'Management Commands:'
    for name in $(sed -n 's/^# Also: //p' "$lib"/* | tr , '\n' | sed 's/^ *//; s/ .*//' | sort -u); do
        printf '%s Manage %ss\n' "$name" "$name"
    done | columns
    printf '\n%s\n' 'Commands:'
    for file in "$lib"/*; do
        case ${file##*/} in
            *[!a-z]*) ;;
            *) printf '%s %s\n' "${file##*/}" "$(header Summary "${file##*/}")" ;;
        esac
    done | columns
    printf '\n%s\n' "Run 'dock COMMAND --help' for more information on a command."
}

# The usage line of a command, under the name that it was called by: usage FILE CALLED.
usage() {
    header Usage "$1" | sed "s/^dock $1/dock $2/"
}

# All of it: help_for FILE CALLED.
help_for() {
    printf 'Usage:  %s\n\n%s\n' "$(usage "$1" "$2")" "$(header Summary "$1")"
    sed -n '/^# Usage:/,/^[^#]/{ /^# Usage:/d; /^# Also:/d; /^# shellcheck/d; s/^#$//p; s/^# //p; }' "$lib/$1"
}

# The commands of a group, by their first name in it.
group_help() {
    printf '%s\n\n%s\n\n%s\n' "Usage:  dock $1 COMMAND" "Manage $1s" 'Commands:'
    for file in "$lib"/*; do
        name=$(header Also "${file##*/}" | tr , '\n' | sed -n "s/^ *$1 //p" | head -n 1)
        [ -z "$name" ] || printf '%s %s\n' "$name" "$(header Summary "${file##*/}")"
    done | sort | columns
    printf '\n%s\n' "Run 'dock $1 COMMAND --help' for more information on a command."
}
