# What the tab key finds behind dock in bash(1): commands, options, and the names of containers, images and volumes.
# shellcheck shell=bash

# The commands and groups that a help text lists.
_dock_commands() { sed -n '/ommands:$/,$s/^  \([a-z][a-z]*\) .*/\1/p'; }

# The options of a command; of those that pass theirs on to a tool, the tool's.
_dock_options() {
    {
        "$dock" "$@" --help
        case ${*: -1} in
            run | create) "${dock%dock}ctr-spec" --help ;;
            build) "${dock%dock}dfile-build" --help ;;
        esac
    } | grep -oE -- '^ +(-[a-zA-Z], +)?--[a-z-]+' | tr , ' '
}

# What the operands of a command name. Where nothing is found, bash goes on with files.
_dock_names() {
    case $* in
        'volume inspect' | 'volume rm') "$dock" volume ls --quiet ;;
        run | create | history | push | rmi | save | tag | image\ *) "$dock" images --format '{{.Repository}}:{{.Tag}}' ;;
        inspect) "$dock" ps --all --format '{{.Names}}' && "$dock" images --format '{{.Repository}}:{{.Tag}}' ;;
        attach | commit | cp | diff | exec | export | kill | logs | pause | port | rename | restart | rm | start | stats | \
            stop | top | unpause | update | wait | container\ *) "$dock" ps --all --format '{{.Names}}' ;;
    esac
}

_dock() {
    local dock=${COMP_WORDS[0]} word=$2 command=() list at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in -*) ;; *) command+=("${COMP_WORDS[at]}") ;; esac
    done
    # A group has commands of its own; what else follows a command are its operands.
    if [ ${#command[@]} -lt 2 ]; then list=$("$dock" "${command[@]}" --help | _dock_commands); fi
    [ ${#command[@]} -eq 0 ] || case ${command[0]} in
        image | container | volume | builder | system) command=("${command[@]:0:2}") ;;
        *) command=("${command[0]}") list='' ;;
    esac
    case $word in
        -*) list=$(_dock_options "${command[@]}") ;;
        *) [ -n "$list" ] || list=$(_dock_names "${command[@]}") ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word")
    # What stands before a colon is another word to bash.
    ! declare -F __ltrim_colon_completions >/dev/null || __ltrim_colon_completions "$word"
} 2>/dev/null
complete -o default -F _dock dock
