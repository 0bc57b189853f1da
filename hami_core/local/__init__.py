"""One machine without Kubernetes: the Pod manifest that a cluster would get, carried out as processes of this host.

Import the module that is needed, inside the command that needs it: ``play`` and ``devices`` load numpy, ``state`` does not.
Words, tables and exit codes of the terminal are not here but in ``hami_core.cli``.
"""
