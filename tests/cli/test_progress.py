"""What commands say must not keep them from what they do."""

from __future__ import annotations

import subprocess
import sys

from testbed.cli.progress import StageLines

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


STAGES = """
from testbed.cli.progress import stages
with stages() as told:
    for done in range(1, 101):
        told("backbone", done / 100, f"{done} of 100", loss=0.5)
"""


def test_a_log_has_a_line_where_a_stage_begins_and_where_it_is_done() -> None:
    code = [sys.executable, "-c", STAGES]
    said = subprocess.run(code, capture_output=True, text=True, check=True).stderr.splitlines()
    assert [line.partition("] ")[2] for line in said] == ["backbone, 1%: 1 of 100", "backbone, 100%: 100 of 100"]


def test_a_long_stage_is_told_of_at_times() -> None:
    said: list[str] = []
    always, never = StageLines(said.append, every_s=0.0), StageLines(said.append, every_s=1e9)
    for done in (0.0, 0.25, 0.5):
        always("tune", done, "")
        never("tune", done, "")
    assert said == ["tune, 0%: ", "tune, 0%: ", "tune, 25%: ", "tune, 50%: "]
