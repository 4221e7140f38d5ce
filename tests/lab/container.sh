#!/bin/sh
# What a container engine does for compose.yaml, with the tools of util-linux, as an ordinary user: called as root of a user
# namespace with mount and process namespaces of its own, it makes a read-only root with the program, the configuration
# and a /tmp, and becomes COMMAND there: uid 1000, no capability, no way to get one.
#
#   container.sh ROOT LAYOUT CONFIGURATION NODE COMMAND...
#
# ROOT is an empty folder, LAYOUT what `scripts/lay-out.mjs` made, NODE the program that is /opt/node inside.
set -eu
root=$1 layout=$2 configuration=$3 node=$4
shift 4

mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir -p dev etc/twinbore opt/twinbore proc tmp usr
touch opt/node
# The system's programs and libraries, in the place of those of the base image.
mount --rbind /usr usr
for name in bin sbin lib lib32 lib64; do
  if [ -L "/$name" ]; then
    ln -s "usr/$name" "$name"
  elif [ -d "/$name" ]; then
    mkdir "$name"
    mount --rbind "/$name" "$name"
  fi
done
mount --bind "$node" opt/node
mount --bind "$layout" opt/twinbore
mount --bind "$configuration" etc/twinbore
for name in null zero random urandom; do
  touch "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mount -t proc proc proc
mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp

for place in usr bin sbin lib lib32 lib64 opt/node opt/twinbore etc/twinbore .; do
  [ ! -L "$place" ] && [ -e "$place" ] || continue
  mount -o remount,bind,ro "$place"
done
pivot_root . .
umount -l .
cd /etc/twinbore
exec unshare --user --map-user=1000 --map-group=1000 --keep-caps -- \
  setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs -- "$@"
