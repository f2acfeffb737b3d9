# Run once, at the first boot of each kind: what makes a Debian the machine of a user called nvidia.
set -eu
useradd --create-home --shell /bin/bash --groups sudo,video nvidia
install -d -m 0700 -o nvidia -g nvidia /home/nvidia/.ssh
: >/etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
mkdir -p /var/lib/apt/lists/partial
printf '/dev/vda / ext4 defaults 0 1\n' >/etc/fstab
printf 'nameserver 10.0.2.3\n' >/etc/resolv.conf
systemctl mask --now apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
  dpkg-db-backup.timer fstrim.timer systemd-networkd-wait-online.service
systemctl enable --now systemd-networkd.service
