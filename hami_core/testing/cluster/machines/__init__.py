"""Real nodes for a control plane: containerd, runc and a kubelet on a machine of their own. Needs root; docs/cluster.md.

A machine is a set of namespaces (processes, mounts, host name) with a root file system of its own over this machine's: what it
writes below /etc, /usr and /var is its own, and it is gone with its first process. No daemon, no image, no virtual machine.
"""

from hami_core.testing.cluster.machines.node import Node

__all__ = ["Node"]
