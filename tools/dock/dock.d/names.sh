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

# Sets $kind, of the option of that name.
by_name() {
    case $1 in '' | *[!a-z0-9-]*) return 1 ;; esac
    case $spec in
        *" $1 "* | *"|$1 "*) kind=switch ;;
        *" $1= "* | *"|$1= "*) kind=value ;;
        *) through "$1" && kind=value ;;
    esac
}

# Sets $both, as messages name the option $name.
both() {
    both=--$name
    case $spec in *"|$name "* | *"|$name= "*) both=${spec%%"|$name"[ =]*} both="-${both##* }, --$name" ;; esac
}

by_letter() {
    case $1$spec in [a-zA-Z]*" $1|"*) ;; *) return 1 ;; esac
    name=${spec#*" $1|"} name=${name%%[ =]*}
    by_name "$name"
}
