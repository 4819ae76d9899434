# shellcheck shell=sh
# shellcheck disable=SC2154 # info has set it
# What dock info -f prints from: docker's document, of its members those that are true here.

# A string of JSON.
text() { printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/^/"/; s/$/"/'; [ -n "$1" ] || printf '""'; }

if [ "$cgroups" = 2 ]; then controllers=$(cat /sys/fs/cgroup/cgroup.controllers)
else controllers=$(awk '$4 == 1 { print $1 }' /proc/cgroups | tr '\n' ' '); fi
# Whether a limit of that controller can be set.
has() { case " $controllers " in *" $1 "*) echo true ;; *) echo false ;; esac; }
swap=$(has memory)
[ "$cgroups" = 2 ] || [ -e /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes ] || swap=false
forwarding=false
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || forwarding=true
rootless=''
[ "$euid" = 0 ] || rootless=',"name=rootless"'

document=$(
    cat <<END
{"Containers":$all,"ContainersRunning":$running,"ContainersPaused":$paused,"ContainersStopped":$stopped,"Images":$images,
"Driver":"overlay2","DriverStatus":null,
"Plugins":{"Volume":["local"],"Network":["host","none"],"Authorization":null,"Log":["json-file","none"]},
"MemoryLimit":$(has memory),"SwapLimit":$swap,"CpuCfsPeriod":$(has cpu),"CpuCfsQuota":$(has cpu),"CPUShares":$(has cpu),
"CPUSet":$(has cpuset),"PidsLimit":$(has pids),"IPv4Forwarding":$forwarding,
"Debug":false,"SystemTime":"$(date -u +%Y-%m-%dT%H:%M:%SZ)","LoggingDriver":"json-file","CgroupDriver":"cgroupfs",
"CgroupVersion":"$cgroups","KernelVersion":"$(uname -r)","OperatingSystem":$(text "$system"),
"OSVersion":"$(sed -n 's/^VERSION_ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/os-release 2>/dev/null)","OSType":"linux",
"Architecture":"$(uname -m)","NCPU":$cpus,"MemTotal":$bytes,"DockerRootDir":$(text "$dock_root"),
"HttpProxy":"","HttpsProxy":"","NoProxy":"","Name":$(text "$(uname -n)"),"Labels":[],"ExperimentalBuild":false,
"ServerVersion":"$version","Runtimes":{"dock":{"path":"ctr-oci"}},"DefaultRuntime":"dock",
"Swarm":{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"","RemoteManagers":null},
"Isolation":"","InitBinary":"ctr-init","SecurityOptions":["name=seccomp,profile=builtin"$rootless],"Warnings":null,
"ClientInfo":{"Debug":false,"Context":"default","Plugins":[],"Warnings":null}}
END
)
