#!/bin/sh
# root folder ...: puts Debian's kernel into a root file system; modules in folders of these names are left out. Its
# maintainer scripts do not run: they would build an initrd that is not wanted.
set -eu
root=$1
shift
name=$(chroot "$root" apt-cache depends --important linux-image-arm64 |
  sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
mkdir "$root/tmp/kernel"
chroot "$root" sh -c "cd /tmp/kernel && apt-get -o APT::Sandbox::User=root download '$name'"
dpkg-deb -x "$root"/tmp/kernel/*.deb "$root/tmp/kernel/x"
mkdir -p "$root/usr/lib/modules" "$root/boot"
mv "$root"/tmp/kernel/x/boot/vmlinuz-* "$root/boot/"
mv "$root"/tmp/kernel/x/lib/modules/* "$root/usr/lib/modules/"
rm -rf "$root/tmp/kernel"
for name do
  find "$root/usr/lib/modules" -depth -type d -name "$name" -exec rm -rf {} +
done
version=$(basename "$root"/boot/vmlinuz-*)
PATH=$PATH:/usr/sbin:/sbin depmod -b "$root" "${version#vmlinuz-}"
