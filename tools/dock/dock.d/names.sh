# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # options.sh reads what is set here, and sets what is read
# The names of options: options.sh finds them in $spec.

# $variable: $name as a shell can call it.
variable() {
    variable=$name
    while :; do
        case $variable in *-*) variable=${variable%%-*}_${variable#*-} ;; *) break ;; esac
    done
}

# Sets $kind and, for messages, $both forms of an option.
by_name() {
    case $1 in '' | *[!a-z0-9-]*) return 1 ;; esac
    case $spec in
        *" $1 "* | *"|$1 "*) kind=switch ;;
        *" $1= "* | *"|$1= "*) kind=value ;;
        *) return 1 ;;
    esac
    both=--$1
    case $spec in *"|$1 "* | *"|$1= "*) both=${spec%%"|$1"[ =]*} both="-${both##* }, --$1" ;; esac
}

by_letter() {
    case $1$spec in [a-zA-Z]*" $1|"*) ;; *) return 1 ;; esac
    name=${spec#*" $1|"} name=${name%%[ =]*}
    by_name "$name"
}
