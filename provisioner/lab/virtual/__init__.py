"""Virtual Jetsons: genuine arm64 Linux machines under QEMU, with a Jetson's device tree and an L4T release's marks.

Kernel, systemd, apt, dpkg, sudo, sshd and Docker are Debian's own. What only NVIDIA has (its packages, its runtime, a
GPU, its images) is a stand-in of the lab; every one of them says so.
"""
