# shellcheck shell=sh
# How much there is: bytes, how docker writes them, and a row of them.

# Bytes of directories, whoever of an ordinary user's containers closed them, and bytes as docker writes them.
used() { ctr-unshare du -sk -- "$@" 2>/dev/null | awk '{ sum += $1 } END { printf("%.0f", sum * 1024) }'; }
# The sum of numbers, one a line.
sum() { awk '{ sum += $1 } END { printf("%.0f", sum) }'; }
human() { awk -v n="$1" 'BEGIN { split("B kB MB GB TB", u, " "); i = 1; while (n >= 999.5 && i < 5) { n /= 1000; i++ } printf(i == 1 ? "%d%s" : "%.4g%s", n, u[i]) }'; }
row() { printf '%-16s%-10s%-10s%-10s%s\n' "$1" "$2" "$3" "$(human "$4")" "$(human "$5") ($(awk -v a="$5" -v b="$4" 'BEGIN { printf "%d", b ? a * 100 / b : 0 }')%)"; }
# The sum of docker's sizes, one a line.
in_bytes() { awk '{ n = $NF; sub(/[a-zA-Z]+$/, "", n); u = $NF; sub(/^[0-9.]+/, "", u); sum += n * (u == "kB" ? 1e3 : u == "MB" ? 1e6 : u == "GB" ? 1e9 : u == "TB" ? 1e12 : 1) } END { printf("%d", sum) }'; }
lines() { if [ -n "$1" ]; then printf '%s\n' "$1" | wc -l | tr -d ' '; else echo 0; fi; }
