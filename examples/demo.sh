#!/bin/sh
# The main job, shown once: a Dockerfile becomes an image, the image an archive, the archive an image under
# another store, and that image an isolated process. No registry, no root file system from outside.
# Every pipeline is printed before it runs; paste one to run it alone.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$work/here there=$work/there
export DOCK_RUN="$work/run"

show() {
  printf '\n$ %s\n' "$1"
  sh -c "$1"
}
say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n# %s\n' "$*"; }

mkdir "$work/hello"
cp examples/hello/Dockerfile bin/hello "$work/hello"
export DOCK_ROOT="$here"

say "Build: FROM scratch, one static binary, one layer"
show "cat $work/hello/Dockerfile"
show "dfile-build -t hello $work/hello"

say "Look: the image, and the step behind each layer"
show "dock images"
show "dock history hello"

say "Carry: one tar file is all that travels"
show "img-save -o $work/hello.tar hello && ls -l $work/hello.tar"
show "img-load --layout $there/images -i $work/hello.tar"

say "Run: under the other store, as an isolated process"
export DOCK_ROOT="$there"
show "img-unpack --overlay hello $work/box | ctr-spec -h container | ctr-spawn"

say "The same as the docker command, with the pipeline that it is"
show "dock --trace run --rm hello"
