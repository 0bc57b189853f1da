"""The C library that reads regions and limits, as cffi sees it in ABI mode.

The declarations repeat `reader/reader.h`; the library is asked for its own sizes when it is opened, and a test compares every
offset. No meaning is given to any field here.
"""

from functools import cache
from typing import Any

from hami_native.files import compiled

MESSAGE = 240  # HAMI_MESSAGE
STRUCTURES = ("hami_device", "hami_process", "hami_region", "hami_limits_device", "hami_limits")

DECLARATIONS = """
struct hami_device { char uuid[96]; uint64_t used; uint64_t peak; uint64_t refused; };
struct hami_process {
    uint32_t pid; uint32_t reserved; uint64_t start_time; uint64_t pid_namespace;
    uint64_t used[16]; uint64_t context[16];
};
struct hami_region {
    char grant[256]; uint32_t device_count; uint32_t process_count; uint64_t unnamed[16];
    struct hami_device devices[16]; struct hami_process processes[512];
};
struct hami_limits_device {
    char uuid[96]; uint64_t memory; uint64_t physical; uint64_t context; uint32_t cores; uint32_t reserved;
};
struct hami_limits {
    char grant[256]; uint32_t device_count; uint32_t policy; uint32_t priority; uint32_t oom;
    struct hami_limits_device devices[16];
};
int hami_region_read(const char *path, struct hami_region *region, char *message);
int hami_limits_parse(const char *text, size_t length, struct hami_limits *limits, uint32_t *line, char *message);
long hami_region_offset(const char *field);
size_t hami_sizeof(const char *structure);
"""


@cache
def ffi() -> Any:
    """The declarations, read once, when something is first read: cffi's parser takes 40 ms, which a mere path must not cost."""
    from cffi import FFI

    declared: Any = FFI()
    declared.cdef(DECLARATIONS)
    return declared


@cache
def reader() -> Any:
    """The library, opened once. Raises ImportError when it was built from another layout than the one declared here."""
    library = ffi().dlopen(str(compiled("libhami_region.so")))
    for name in STRUCTURES:
        if library.hami_sizeof(name.encode()) != ffi().sizeof(f"struct {name}"):
            raise ImportError(f"libhami_region.so: struct {name} has another size than declared: build hami-native again")
    return library


def text(array: Any) -> str:
    """A zero-terminated array of characters; bytes that are no UTF-8 are shown, not refused."""
    return bytes(ffi().string(array)).decode(errors="backslashreplace")
