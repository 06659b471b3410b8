"""The QEMU platform: the plan's VMs as real virtual machines, each a process of this host that needs no root.

argv        a plan to one command line a VM, pure
images      what the guests boot: a kernel and an initramfs, built from Debian packages
launch      the software launch: measures into a TPM (swtpm) what is about to run
processes   runs QEMU and sees when it ends
provider    the platform, put together
guest       what runs inside the VMs
"""
