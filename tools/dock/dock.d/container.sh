# shellcheck shell=sh
# What run and create share: options sorted by the tool that takes them.

# Sets $spec (quoted words for ctr-spec), the flags below, and $operands, the quoted words from IMAGE on.
parse() {
    spec='' interactive='' tty='' detach='' remove='' read_only='' cidfile='' platform='' quiet='' pull=missing
    keys='' proxy='' attached='' privileged='' oom_kill_disable='' init=''
    while [ $# -gt 0 ]; do
        case $1 in
            --privileged | --oom-kill-disable | --init) switch "$1" 1 ;;
            --privileged=* | --oom-kill-disable=* | --init=*) switch "${1%%=*}" "${1#*=}" ;;
            -[itdq] | --interactive | --tty | --detach | --quiet | --rm | --read-only) switch "$1" 1 ;;
            -[itdq]=* | --interactive=* | --tty=* | --detach=* | --quiet=* | --rm=* | --read-only=*) switch "${1%%=*}" "${1#*=}" ;;
            -[itdq]?*) letter=${1#-} letter=${letter%"${letter#?}"} rest=${1#-?}; shift; set -- "-$letter" "-$rest" "$@"; continue ;;
            --) shift; break ;;
            --pull=* | --cidfile=* | --attach=* | --isolation=* | --platform=* | --detach-keys=* | --sig-proxy=*) own "${1%%=*}" "${1#*=}" ;;
            -[pP] | -[pP]?* | --publish | --publish=* | --publish-all | --link | --link=* | --ip | --ip=* | --ip6 | --ip6=* | \
                --mac-address | --mac-address=* | --network-alias | --network-alias=* | --gpus | --gpus=* | --kernel-memory | \
                --kernel-memory=* | --storage-opt | --storage-opt=* | --runtime | --runtime=* | --volume-driver | --volume-driver=*)
                refuse "$1" "${2-}"
                case $1 in *=*) ;; *) shift ;; esac
                ;;
            --no-healthcheck) spec="$spec $1" ;;
            -a?*) own --attach "${1#-a}" ;;
            --disable-content-trust | --disable-content-trust=*) ;;
            --pull | --cidfile | -a | --attach | --isolation | --platform | --detach-keys) value "$@"; own "$1" "$2"; shift ;;
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
                # A value may start as an option does.
                case $2 in -*) quote "$1=$2" ;; *) quote "$1" "$2" ;; esac
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

# shellcheck source=tools/dock/dock.d/flags.sh
. "$lib/flags.sh"
# shellcheck source=tools/dock/dock.d/make.sh
. "$lib/make.sh"
