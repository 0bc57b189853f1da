"""A node of a cluster: what its agent tells the API server and the kubelet, and what it puts into containers.

The only package that speaks gRPC, in ``device_plugin``, ``kubelet`` and ``podresources``.
"""
