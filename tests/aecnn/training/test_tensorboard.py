import subprocess
import sys
from pathlib import Path

import pytest

from testbed.aecnn.training.tensorboard import TensorBoard

MISSING = """
import sys
from pathlib import Path
sys.modules["tensorboard"] = None
from testbed.aecnn.training.tensorboard import TensorBoard
TensorBoard(Path(sys.argv[1]), print)
"""


def test_figures_are_told_on_and_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told = []
    with TensorBoard(tmp_path, lambda *said, **figures: told.append((said, figures))) as board:
        for step in range(3):
            board("backbone", (step + 1) / 3, "loss", step=step, loss=1 / (step + 1))
        board("validation", 1.0, "93 %", accuracy=0.93)
    assert told[0] == (("backbone", 1 / 3, "loss"), {"step": 0, "loss": 1.0})
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("backbone/loss")] == [
        (step, pytest.approx(1 / (step + 1))) for step in range(3)
    ]
    assert [event.value for event in events.Scalars("validation/accuracy")] == [pytest.approx(0.93)]


def test_without_tensorboard_the_remedy_is_named(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MISSING, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "ConfigError: --tensorboard: not installed; pip install 'testbed[tensorboard]'" in done.stderr
