"""A program keeps the memory that it frees, where the C library lets it."""

import ctypes
import subprocess
import sys

import pytest

# Forty times 64 MiB, asked for, written to and given back.
USE = """
import ctypes, resource, sys
if sys.argv[1] == "kept":
    from equipoise.cli.allocator import keep_freed_memory
    keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes, c.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size, before = 1 << 26, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    where = c.malloc(size)
    c.memset(where, 1, size)
    c.free(where)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="glibc's allocator alone is told",
)
def test_freed_memory_is_not_faulted_in_again() -> None:
    def faults(way: str) -> int:
        return int(subprocess.run([sys.executable, "-c", USE, way], check=True, capture_output=True).stdout)

    assert faults("kept") < 0.1 * faults("given back")
