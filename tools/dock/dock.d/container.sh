# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # options reads what is set here, and sets what is read
# What run and create share: their options, most of which are ctr-spec's.

# parse 'SPEC' "$@": SPEC is what this command takes besides. Sets what options sets; $attached, the streams that are
# seen here; $proxy, as it was given.
parse() {
    attached='' proxy='' leading=1
    own=" attach cidfile detach detach-keys disable-content-trust isolation platform pull quiet sig-proxy gpus ip ip6 \
kernel-memory link mac-address network-alias publish publish-all runtime storage-opt volume-driver "
    spec="$1 a|attach= c|cpu-shares= cidfile= disable-content-trust e|env= h|hostname= i|interactive init l|label= m|memory= \
no-healthcheck oom-kill-disable P|publish-all p|publish= platform= privileged pull= q|quiet read-only rm t|tty u|user= \
v|volume= w|workdir="
    shift
    options "$spec" "$@"
    want 1 999999 "$count"
}

# All the others, none of which has a letter. To look for each word of a line in one long $spec would take milliseconds.
through() {
    case $1 in
        add-host | annotation | blkio-weight | blkio-weight-device | cap-add | cap-drop | capabilities | cgroup-parent | cgroupns | \
            cpu-period | cpu-quota | cpu-rt-period | cpu-rt-runtime | cpus | cpuset-cpus | cpuset-mems | device | \
            device-cgroup-rule | device-read-bps | device-read-iops | device-write-bps | device-write-iops | dns | dns-opt | \
            dns-option | dns-search | domainname | entrypoint | env-file | expose | group-add | health-cmd | health-interval | \
            health-retries | health-start-interval | health-start-period | health-timeout | ipc | label-file | log-driver | \
            log-opt | memory-reservation | memory-swap | memory-swappiness | mount | name | net | network | oom-score-adj | \
            pid | pids-limit | restart | security-opt | shm-size | stop-signal | stop-timeout | sysctl | tmpfs | ulimit | \
            userns | uts | volumes-from) ;;
        gpus | ip | ip6 | isolation | kernel-memory | link | mac-address | network-alias | runtime | storage-opt | volume-driver) ;;
        *) false ;;
    esac
}

# One of dock's own, which no tool is given.
own() {
    case $1 in
        attach) attach "$2" ;;
        sig-proxy) proxy=${2:+true}; proxy=${proxy:-false} ;;
        isolation) case $2 in '' | default) ;; *) die "Error response from daemon: Invalid isolation: \"$2\" - linux only supports 'default'" 125 ;; esac ;;
        pull) case $2 in always | missing | never) ;; *) misuse "invalid pull option: '$2': must be one of \"always\", \"missing\" or \"never\"" ;; esac ;;
        cidfile | detach* | disable-content-trust | platform | quiet) ;;
        *) refuse "$1" "$2" ;;
    esac
}

# What of it is seen here.
attach() {
    case $1 in
        [sS][tT][dD][iI][nN]) attached="$attached stdin" words="$words --interactive" ;;
        [sS][tT][dD][oO][uU][tT]) attached="$attached stdout" ;;
        [sS][tT][dD][eE][rR][rR]) attached="$attached stderr" ;;
        *) misuse "invalid argument \"$1\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR" ;;
    esac
}

# Options of docker that mean nothing here yet, or never will: ignoring them would run something else than was asked for.
refuse() {
    case $1 in
        gpus) die "could not select device driver \"\" with capabilities: [[gpu]]" 125 ;;
        kernel-memory) die 'kernel memory limits are not supported by the kernel any more: use --memory' 125 ;;
        storage-opt) die '--storage-opt is supported only for overlay over xfs with "pquota" mount option' 125 ;;
        runtime) case $2 in runc | io.containerd.runc.v2) ;; *) die "Error response from daemon: unknown or invalid runtime name: $2" 125 ;; esac ;;
        volume-driver) case $2 in local) ;; *) die "volume driver \"$2\" not found: only local is here" 125 ;; esac ;;
        *) both; die "$both: networks with addresses are not in this release: want --network none, host or container:NAME" 125 ;;
    esac
}

# shellcheck source=tools/dock/dock.d/make.sh
. "$lib/make.sh"
