"""The C library's allocator, for a program that frees large tensors and asks for them again at once."""

import ctypes
import sys

# glibc's malloc.h: blocks that are mapped one by one, and how much free memory makes the heap shrink.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Let glibc keep what is freed; another C library stays as it is.

    A pass over a model on a CPU allocates and frees hundreds of large tensors. Each that goes back to the system costs
    a page fault a page when it comes again: a tenth of the time that a fit takes. Only a program may decide this,
    never a library that others import.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
