"""Tests of the memory that a process keeps."""

import os
import platform
import sys

import pytest

from tests.support.processes import run_to_end

# Twenty times a block of 64 MB, written to and given back; prints how many pages the last ten had to fetch.
FAULTS = """
import resource, torch
from skinlesion_cli.models.device import choose_runtime
torch.set_num_threads(1)
choose_runtime("cpu", "fp32", training=True).activate()
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(16 * 2**20).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")


def faults(**environment: str) -> int:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return int(run_to_end([sys.executable, "-c", FAULTS], env=own | environment).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")
class TestFreedMemory:
    def test_is_used_again(self) -> None:
        assert faults() < PAGES

    def test_is_left_to_who_has_set_the_allocator(self) -> None:
        # A small threshold: each block is fetched anew, page by page.
        assert faults(MALLOC_MMAP_THRESHOLD_="1000000") > 8 * PAGES
