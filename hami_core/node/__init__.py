"""A node of a cluster: what its agent tells the API server and the kubelet, and what it puts into containers.

Pure modules make the values (``inventory``, ``health``, ``publishing``, ``allocating``, ``steering``); files, sockets, drivers
and the API server are edges; ``agent`` puts the parts together. What a pod gets is not decided here.
The only package that speaks gRPC, in ``device_plugin``, ``kubelet`` and ``podresources``.
"""
