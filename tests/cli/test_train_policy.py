"""`testbed train policy` and `testbed evaluate` of what it leaves, as commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

TINY = """
learner: grl
slots: 20
scenario: {devices: 2, edges: 1, stay_slots: 5}
learning: {batch: 4, every: 5}
"""


def called(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, cwd=cwd)


def test_a_policy_is_trained_and_evaluated(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = called("train", "policy", "tiny.yaml", "--output", "out", "--seed", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out/policy.safetensors\n"), done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"policy.safetensors", "curve.json"}
    other = called("train", "policy", "tiny.yaml", "--output", "out", "--seed", "4", cwd=tmp_path)
    assert other.returncode == 2 and "give another folder" in other.stderr

    evaluated = called("evaluate", "out/policy.safetensors", "--json", cwd=tmp_path)
    result = msgspec.json.decode(evaluated.stdout)
    assert list(result["results"]) == ["grl", "greedy", "local", "full", "random"]
    assert result["scenario"]["devices"] == 2
    assert all(-1 <= one["reward"] <= 1 and 0 <= one["success"] <= 1 for one in result["results"].values())
    refused = called("evaluate", "out/policy.safetensors", "--images", "here", cwd=tmp_path)
    assert refused.returncode == 2 and "--images" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "absent.yaml"),
        ("learner: grl\nslots: 20\nslot: 3", "unknown field `slot`"),
        ("learner: grl\nslots: 20\nscenario: {device: 3}", "`$.scenario`"),
        ("learner: grl\nslots: 20\ncheckpoint: nowhere.safetensors", "nowhere.safetensors"),
        ("learner: grl\nslots: 20\nencodings: [gif]", "no gif"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_makes_nothing(tmp_path: Path, text: str | None, said: str) -> None:
    (tmp_path / "work").mkdir()
    path = tmp_path / ("absent.yaml" if text is None else "policy.yaml")
    if text is not None:
        path.write_text(text)
    done = called("train", "policy", str(path), "--output", "out", cwd=tmp_path / "work")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert list((tmp_path / "work").iterdir()) == []
