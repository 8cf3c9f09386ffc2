import subprocess
import sys
from pathlib import Path

import pytest


def called(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), ["--data and --weights", "--quick"]),
        (("--data", "here"), ["--weights", "--quick"]),
        (("--quick", "--data", "here"), ["--quick"]),
        (("--data", "absent", "--weights", "absent", "--seeds", "1,one"), ["--seeds", "1,one"]),
        (("--data", "absent", "--weights", "absent", "--seeds", "1,1"), ["--seeds", "1,1"]),
        (("--data", "absent.zip", "--weights", "absent.onnx"), ["absent.zip"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_makes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], named: list[str]
) -> None:
    done = called("reproduce", "compression", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert all(word in done.stderr for word in named)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_starts_without_what_draws_and_computes(tmp_path: Path) -> None:
    code = (
        "import sys, testbed.cli.main; print(*[name for name in ('matplotlib', 'torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
