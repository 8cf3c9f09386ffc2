"""What commands say must not keep them from what they do."""

from __future__ import annotations

import subprocess
import sys

TELLING = """
from testbed.cli.progress import Steps
import sys
sys.stdin.read()
Steps()("taking it down")
print("and went on")
"""


def test_a_command_goes_on_though_nobody_hears_it_any_more() -> None:
    telling = subprocess.Popen(
        [sys.executable, "-c", TELLING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert telling.stdin is not None and telling.stdout is not None and telling.stderr is not None
    telling.stderr.close()
    telling.stdin.close()
    assert telling.stdout.read() == "and went on\n"
    telling.wait()
