#!/bin/sh
# Runs a program on a root of its own that cannot be written to, as user 1000 without capabilities, as a container would;
# nothing but user namespaces is needed. To be started as the mapped root of a user and mount namespace:
#   unshare --user --map-root-user --mount sh container.sh ROOT NODE WORKDIR [SOURCE:TARGET]... -- PROGRAM [ARGUMENT]...
# ROOT is an empty folder; each SOURCE appears as TARGET.
set -eu
root=$1 node=$2 workdir=$3
shift 3

appear() { # SOURCE TARGET
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root$(dirname "$2")"; : >"$root$2"; fi
  mount --rbind "$1" "$root$2"
}

mount -t tmpfs none "$root"
mkdir "$root/host"
for name in bin sbin lib lib64; do
  if [ -L "/$name" ]; then ln -s "usr/$name" "$root/$name"; elif [ -d "/$name" ]; then appear "/$name" "/$name"; fi
done
places=/usr
appear /usr /usr
appear /proc /proc
appear /dev /dev
appear "$node" /node/node
while [ "$1" != -- ]; do
  appear "${1%%:*}" "${1#*:}"
  places="$places ${1#*:}"
  shift
done
shift
for place in $places /node/node; do mount -o remount,bind,ro "$root$place"; done
mount -o remount,bind,ro "$root"
# Not chroot: a process inside one may not make another user namespace.
cd "$root"
pivot_root . host
umount -l /host
exec env -i PATH=/node:/usr/bin:/bin NODE_ENV=production \
  unshare --user --map-user=1000 --map-group=1000 setpriv --no-new-privs \
  sh -c 'cd "$0" && exec "$@"' "$workdir" "$@"
