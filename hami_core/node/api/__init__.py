"""The kubelet's gRPC interfaces: our own reading of them as .proto files, and the messages that ``make api`` generates.

A service needs no generated code: its methods' paths stand where they are served or called.
"""
