import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.documents.resolved import RuntimeName
from testbed.jobs.decision import LOCAL, Kind
from testbed.runtime import payload_store
from testbed.runtime.payload_store import PayloadStore

PREPARE = """
import sys
from pathlib import Path
from testbed.runtime import payload_store
if __name__ == "__main__":
    payload_store.prepare(
        Path(sys.argv[1]), "default", "onnx", "sample", range(400), lambda done: print(done, flush=True)
    )
"""


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_what_is_prepared_is_what_the_stages_give(tmp_path: Path, runtime: RuntimeName) -> None:
    import torch

    from testbed.aecnn.loading import load_model
    from testbed.aecnn.photographs import open_photographs

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    told: list[float] = []
    payload_store.prepare(tmp_path, "default", runtime, "sample", [3, 5], told.append)
    assert told[-1] == 1
    assert payload_store.missing(tmp_path, [3, 4, 5]) == [4]
    store = PayloadStore(tmp_path, [5])
    model, photographs = load_model("default", runtime), open_photographs("sample")
    pixels = photographs.pixels(5)
    for option in model.options:
        stored = store[5, option]
        assert stored.predicted == model.predict_local(pixels) or option.kind is Kind.SPLIT
        if option.kind is Kind.SPLIT:
            payload = model.encode(model.head(pixels, option), option, 5)
            assert payload == stored.payload
            assert model.tail(model.decode(payload, option, 5), option) == stored.predicted
    assert store[5, LOCAL].payload == b""
    assert (3, LOCAL) not in store
    torch.set_num_threads(threads)


def test_workers_end_with_a_parent_that_is_killed_and_parts_done_are_kept(tmp_path: Path) -> None:
    script = tmp_path / "prepare.py"
    script.write_text(PREPARE)
    process = subprocess.Popen([sys.executable, script, tmp_path / "store"], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    children = _children(process.pid)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(_is_worker(pid) for pid in children):  # the test's own time limit ends a wait in vain
        time.sleep(0.05)
    held = 400 - len(payload_store.missing(tmp_path / "store", range(400)))
    assert 0 < held < 400


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_worker(pid: int) -> bool:
    """Whether a process lives that multiprocessing spawned."""
    try:
        return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_parts_go_to_another_machine_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name, content in (("a.arrow", b"first"), ("b.arrow", b"second"), (".unfinished", b"half")):
        (here / name).write_bytes(content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    folder, held = payload_store.keep("key", {})
    assert held == []
    for part in payload_store.parts_lacking(here, held):
        payload_store.keep("key", part)
    folder, held = payload_store.keep("key", {})
    assert held == ["a.arrow", "b.arrow"] and list(payload_store.parts_lacking(here, held)) == []
    assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == {
        "a.arrow": b"first",
        "b.arrow": b"second",
    }
