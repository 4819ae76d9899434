# shellcheck shell=sh
# shellcheck disable=SC2034 # container.sh and its commands read what is set here
# Options of run and create that are dock's own, and those that mean nothing here.

# A flag that is on or off: the last one counts, and =false takes it back.
switch() {
    case $2 in
        1 | t | T | true | TRUE | True) on=1 ;;
        0 | f | F | false | FALSE | False) on='' ;;
        *) misuse "invalid argument \"$2\" for \"$1\" flag: want true or false" ;;
    esac
    case $1 in
        -i | --interactive) interactive=$on ;; -t | --tty) tty=$on ;; -d | --detach) detach=$on ;;
        -q | --quiet) quiet=$on ;; --rm) remove=$on ;; --read-only) read_only=$on ;;
        --privileged) privileged=$on ;; --oom-kill-disable) oom_kill_disable=$on ;; --init) init=$on ;;
    esac
}

# What of it is seen here: $attached is the list of streams.
attach() {
    case $1 in
        [sS][tT][dD][iI][nN]) attached="$attached stdin" interactive=1 ;;
        [sS][tT][dD][oO][uU][tT]) attached="$attached stdout" ;;
        [sS][tT][dD][eE][rR][rR]) attached="$attached stderr" ;;
        *) misuse "invalid argument \"$1\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR" ;;
    esac
}

isolate() { case $1 in '' | default) ;; *) die "Error response from daemon: Invalid isolation: \"$1\" - linux only supports 'default'" 125 ;; esac; }

# Options of docker that mean nothing here yet, or never will: ignoring them would run something else than was asked for.
refuse() {
    option=${1%%=*} words=$2
    case $1 in *=*) words=${1#*=} ;; esac
    case $option in
        --gpus) die "could not select device driver \"\" with capabilities: [[gpu]]" 125 ;;
        --kernel-memory) die 'kernel memory limits are not supported by the kernel any more: use --memory' 125 ;;
        --storage-opt) die '--storage-opt is supported only for overlay over xfs with "pquota" mount option' 125 ;;
        --runtime) case $words in runc | io.containerd.runc.v2) return 0 ;; *) die "unknown or invalid runtime name: $words" 125 ;; esac ;;
        --volume-driver) case $words in local) return 0 ;; *) die "volume driver \"$words\" not found: only local is here" 125 ;; esac ;;
        *) die "$option: networks with addresses are not in this release: want --network none, host or container:NAME" 125 ;;
    esac
}

value() { [ $# -gt 1 ] || misuse "flag needs an argument: $1"; }

own() {
    case $1 in
        -a | --attach) attach "${2#=}" ;; --isolation) isolate "$2" ;; --pull) pull=$2 ;; --cidfile) cidfile=$2 ;; --platform) platform=$2 ;;
        --detach-keys) keys=$2 ;; --sig-proxy) proxy=$2 ;;
    esac
    case $pull in always | missing | never) ;; *) misuse "invalid pull option: '$pull': must be one of \"always\", \"missing\" or \"never\"" ;; esac
}
