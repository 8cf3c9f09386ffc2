"""What is freed stays: a step as large as the one before it needs no fresh pages."""

import subprocess
import sys

STEPS = """
import resource, sys
import torch
from testbed.aecnn.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(20):
    torch.ones(24 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(24 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_A_STEP = 4 * (24 << 20) // (2 << 20)
"""At least: even if the kernel gives pages of 2 MiB."""


def fresh_pages(how: str) -> int:
    """That ten steps need after twenty."""
    return int(subprocess.run([sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True).stdout)


def test_steps_after_the_first_ones_need_no_fresh_pages():
    assert fresh_pages("given back") >= 10 * PAGES_OF_A_STEP
    assert fresh_pages("kept") < PAGES_OF_A_STEP
