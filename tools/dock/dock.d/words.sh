# shellcheck shell=sh
# Docker's words where something is wrong: with a command line, or with what the tools found.

# What the tools say from here on is docker's: as its daemon answers, in front of that what is given here.
speak() { DOCK_ERROR_PREFIX="${1-}Error response from daemon: "; export DOCK_ERROR_PREFIX; }

# Docker's answer to a wrong command line: two lines and 125.
misuse() { say "$1"; say "See 'dock $called --help'."; exit 125; }

# What docker's client checks itself: whole FLAG VALUE.
whole() { case ${2#-} in '' | *[!0-9]*) misuse "invalid argument \"$2\" for \"$1\" flag: strconv.ParseInt: parsing \"$2\": invalid syntax" ;; esac; }

# Docker's answer to missing or surplus operands: want MIN MAX COUNT.
want() {
    case $1-$2 in
        0-0) wanted='accepts no arguments' ;;
        *-999999) wanted="requires at least $1 argument" ;;
        "$2-$1") wanted="requires exactly $1 argument" ;;
        *) wanted="requires at most $2 argument" ;;
    esac
    if [ "$3" -lt "$1" ] || [ "$3" -gt "$2" ]; then
        case $wanted in *' 1 argument' | *s) ;; *) wanted=${wanted}s ;; esac
        # shellcheck source=tools/dock/dock.d/help.sh
        . "$lib/help.sh"
        say "\"dock $called\" $wanted."
        say "See 'dock $called --help'.

Usage:  $(usage "$command" "$called")

$(header Summary "$command")"
        exit 1
    fi
}

# go, for a line that ends soon: what its tools say, in docker's words, as docker's daemon would; and docker's exit
# code. answer [SED_SCRIPT [CODE]]: words to be changed first, and the code for a template that is none.
answer() {
    [ -z "$DOCK_DRY" ] || { go; return 0; }
    [ -z "$DOCK_TRACE" ] || say "$line"
    said=0
    { errors=$(eval "$line" 2>&1 >&3 3>&-) || said=$?; } 3>&1
    line=
    [ -n "$errors" ] || return "$said"
    printf '%s\n' "$errors" | sed -e "${1-}" -e "/^Try '/d" -e "s/^\([a-z]*-[a-z]*: \)invalid value '.*' for '--filter <[A-Z=]*>': /\1/" \
        -e 's/^[a-z]*-[a-z]*: \(template parsing error:\|failed to [a-z]* template:\|invalid argument\)/\1/' \
        -e 's/^[a-z]*-[a-z]*: /Error response from daemon: /' >&2
    case $said$errors in
        2*'template parsing error'*) return "${2:-1}" ;;
        2*'" flag: '*) say "See 'dock $called --help'."; return 125 ;;
        2*) return 1 ;;
    esac
    return "$said"
}
