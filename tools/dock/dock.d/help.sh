# shellcheck shell=sh
# Help, made from the headers of the commands' files: Summary, Usage, Also (the names in groups), and their Options.

# The text after a header word in a command's file.
header() {
    sed -n "s/^# $1: //p" "$lib/$2"
}

# One line a name, of `NAME SUMMARY` lines.
columns() {
    awk '{ name = $1; sub(/^[^ ]* /, ""); printf("  %-11s %s\n", name, $0) }'
}

# `NAME SUMMARY` of every command.
commands() {
    awk '/^# Summary: / { name = FILENAME; sub(/.*\//, "", name); print name, substr($0, 12) }' "$lib"/*
}

# `GROUP NAME SUMMARY` of every command that is in a group, by its first name there.
grouped() {
    awk '/^# Summary: / { summary = substr($0, 12) }
        /^# Also: / {
            many = split(substr($0, 9), names, / *, */)
            for (i = 1; i <= many; i++) {
                group = names[i]
                sub(/ .*/, "", group)
                if (!((FILENAME, group) in seen)) print names[i], summary
                seen[FILENAME, group] = 1
            }
        }' "$lib"/*
}

summary() {
    printf '%s\n\n%s\n\n%s\n' 'Usage:  dock [OPTIONS] COMMAND' \
        'Containers without a daemon, by small tools and pipes' 'Options:'
    printf '%s\n' '  -n, --dry-run  Only print what would be done, as a shell script' \
        '      --trace    Print each line before it is run' '  -v, --version  Print the version'
    printf '\n%s\n' 'Management Commands:'
    grouped | sed 's/^\([^ ]*\) .*/\1 Manage \1s/' | sort -u | columns
    printf '\n%s\n' 'Commands:'
    commands | columns
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

# The commands of a group.
group_help() {
    printf '%s\n\n%s\n\n%s\n' "Usage:  dock $1 COMMAND" "Manage $1s" 'Commands:'
    grouped | sed -n "s/^$1 //p" | sort | columns
    printf '\n%s\n' "Run 'dock $1 COMMAND --help' for more information on a command."
}
