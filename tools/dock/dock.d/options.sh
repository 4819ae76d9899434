# shellcheck shell=sh
# Docker's command lines: options between operands, in every form that docker takes, and docker's words for others.

# options 'SPEC' "$@": SPEC names what the command takes, "a|all" a switch and "f|filter=" an option with a value.
# Sets, quoted for eval, $words, the options as the tools take them, $operands, and $rest, the same behind -- where it
# has to be; their $count; and opt_NAME for each option: its last value, 1 for a switch that is on, else nothing.
# Before it, $leading: what follows the first operand is no option any more; $own: names that are no tool's, for which
# own NAME VALUE is called; through NAME: whether it is one more option with a value, which is only passed on.
leading='' own=' '
through() { false; }
options() {
    spec=" $1 " words='' operands='' dashes='' count=0
    shift
    nothing=''
    for name in $spec; do name=${name#*|}; name=${name%=}; variable; nothing="$nothing opt_$variable=''"; done
    eval "$nothing"
    while [ $# -gt 0 ]; do
        arg=$1 given=''
        shift
        case $arg in
            --) operand "$@"; break ;;
            # Of a command in a group file, the group's.
            --help) case $called in "$command "*) called=$command ;; esac; help help_for "$command" "$called" ;;
            --*=*) name=${arg%%=*} name=${name#--} value=${arg#*=} given=1; by_name "$name" || misuse "unknown flag: --$name" ;;
            --*) name=${arg#--}; by_name "$name" || misuse "unknown flag: $arg" ;;
            -?*)
                value=${arg#-?} letter=${arg#-} letter=${letter%"$value"}
                by_letter "$letter" || misuse "unknown shorthand flag: '$letter' in $arg"
                case $kind$value in
                    switch=* | value=*) value=${value#=} given=1 ;;
                    value?*) given=1 ;;
                    switch?*) set -- "-$value" "$@" ;;
                esac
                ;;
            *) [ -z "$leading" ] || { operand "$arg" "$@"; break; }; operand "$arg"; continue ;;
        esac
        if [ "$kind" = switch ]; then
            [ -n "$given" ] || value=true
            case $value in
                1 | [tT] | true | TRUE | True) value=1 ;; 0 | [fF] | false | FALSE | False) value='' ;;
                *) both; misuse "invalid argument \"$value\" for \"$both\" flag: strconv.ParseBool: parsing \"$value\": invalid syntax" ;;
            esac
        elif [ -z "$given" ]; then
            [ $# -gt 0 ] || case $arg in
                --*) misuse "flag needs an argument: $arg" ;;
                *) misuse "flag needs an argument: '$letter' in $arg" ;;
            esac
            value=$1
            shift
        fi
        take
    done
    for name in $spec; do
        case $name in *=) continue ;; esac
        name=${name#*|}
        case $own in *" $name "*) continue ;; esac
        variable
        eval "[ -z \"\$opt_$variable\" ] || words=\"\$words --$name\""
    done
    rest=$dashes$operands
}

# Notes the option $name with its $value.
take() {
    variable
    eval "opt_$variable=\$value"
    case $own in *" $name "*) own "$name" "$value"; return ;; esac
    [ "$kind" = value ] || return 0
    case $name$value in
        filter*=*) ;;
        filter*) both; misuse "invalid argument \"$value\" for \"$both\" flag: bad format of filter (expected name=value)" ;;
    esac
    # A value may start as an option does.
    case $value in -*) quote "--$name=$value" ;; *) quote "--$name" "$value" ;; esac
    # shellcheck disable=SC2154 # quote sets it
    words="$words $quoted"
}

operand() {
    count=$((count + $#))
    for word in "$@"; do case $word in -?*) dashes=' --' ;; esac; done
    quote "$@"
    operands="$operands${quoted:+ $quoted}"
}

# shellcheck source=tools/dock/dock.d/names.sh
. "$lib/names.sh"
