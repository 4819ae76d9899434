# shellcheck shell=sh
# What run and create share: options sorted by the tool that takes them.

# Sets $spec (quoted words for ctr-spec), the flags below, and $operands, the quoted words from IMAGE on.
parse() {
    spec='' interactive='' tty='' detach='' remove='' read_only='' cidfile='' platform='' quiet='' pull=missing
    keys='' proxy='' privileged='' oom_kill_disable='' init=''
    while [ $# -gt 0 ]; do
        case $1 in
            --privileged | --oom-kill-disable | --init) switch "$1" 1 ;;
            --privileged=* | --oom-kill-disable=* | --init=*) switch "${1%%=*}" "${1#*=}" ;;
            -[itdq] | --interactive | --tty | --detach | --quiet | --rm | --read-only) switch "$1" 1 ;;
            -[itdq]=* | --interactive=* | --tty=* | --detach=* | --quiet=* | --rm=* | --read-only=*) switch "${1%%=*}" "${1#*=}" ;;
            -[itdq]?*) letter=${1#-} letter=${letter%"${letter#?}"} rest=${1#-?}; shift; set -- "-$letter" "-$rest" "$@"; continue ;;
            --) shift; break ;;
            --pull=* | --cidfile=* | --platform=* | --detach-keys=* | --sig-proxy=*) own "${1%%=*}" "${1#*=}" ;;
            -[pP] | -[pP]?* | --publish | --publish=* | --publish-all | --link | --link=* | --ip | --ip=* | --ip6 | --ip6=* | \
                --mac-address | --mac-address=* | --network-alias | --network-alias=* | --gpus | --gpus=* | --kernel-memory | \
                --kernel-memory=* | --storage-opt | --storage-opt=* | --runtime | --runtime=* | --volume-driver | --volume-driver=*)
                refuse "$1" "${2-}"
                case $1 in *=*) ;; *) shift ;; esac
                ;;
            --no-healthcheck) spec="$spec $1" ;;
            --pull | --cidfile | --platform | --detach-keys) value "$@"; own "$1" "$2"; shift ;;
            --*=* | -[ewuhvmlc]?*) quote "$1"; spec="$spec $quoted" ;;
            -[ewuhvmlc] | --env | --env-file | --workdir | --user | --hostname | --volume | --memory | --label | --name | \
                --entrypoint | --memory-swap | --memory-reservation | --cpus | --cpu-shares | --cpuset-cpus | --cpuset-mems | \
                --pids-limit | --cap-add | --cap-drop | --security-opt | --sysctl | --network | --net | --pid | --uts | \
                --tmpfs | --ulimit | --add-host | --shm-size | --oom-score-adj | --mount | --volumes-from | --cpu-period | \
                --cpu-quota | --cpu-rt-period | --cpu-rt-runtime | --memory-swappiness | --blkio-weight | --blkio-weight-device | \
                --device-read-bps | --device-write-bps | --device-read-iops | --device-write-iops | --cgroup-parent | --device | \
                --device-cgroup-rule | --capabilities | --ipc | --userns | --cgroupns | --domainname | --group-add | \
                --label-file | --annotation | --dns | --dns-search | --dns-option | --dns-opt | --restart | --stop-signal | \
                --stop-timeout | --log-driver | --log-opt | --health-[cirst]*)
                value "$@"
                quote "$1" "$2"
                spec="$spec $quoted"
                shift
                ;;
            --*) misuse "unknown flag: $1" ;;
            -?*) misuse "unknown shorthand flag: '${1#-}' in $1" ;;
            *) break ;;
        esac
        shift
    done
    want 1 999999 $#
    spec="$spec${tty:+ --tty}${read_only:+ --read-only}${interactive:+ --interactive}${remove:+ --rm}${privileged:+ --privileged}${oom_kill_disable:+ --oom-kill-disable}${init:+ --init}"
    quote "$@"
    operands=$quoted
}

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
        --pull) pull=$2 ;; --cidfile) cidfile=$2 ;; --platform) platform=$2 ;;
        --detach-keys) keys=$2 ;; --sig-proxy) proxy=$2 ;;
    esac
    case $pull in always | missing | never) ;; *) misuse "invalid pull option: '$pull': must be one of \"always\", \"missing\" or \"never\"" ;; esac
}

# shellcheck source=tools/dock/dock.d/make.sh
. "$lib/make.sh"
