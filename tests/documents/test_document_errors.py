"""Each broken file beside its golden output."""

from pathlib import Path

import pytest

from testbed.documents.errors import DocumentErrors
from testbed.documents.loading import load_topology, load_workload
from testbed.documents.resolve import resolve

ERRORS = Path(__file__).parent / "errors"
STAR = Path(__file__).parents[2] / "topologies" / "star.yaml"


def told(path: Path) -> str:
    with pytest.raises(DocumentErrors) as found:
        if path.name.startswith("workload"):
            load_workload(path, resolve(load_topology(STAR)))
        else:
            load_topology(path)
    return str(found.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in ERRORS.glob("*.yaml")))
def test_a_broken_file_gives_its_golden_errors(name, monkeypatch):
    monkeypatch.chdir(ERRORS)
    assert told(Path(f"{name}.yaml")) + "\n" == Path(f"{name}.txt").read_text()


def test_there_are_many_of_them_and_each_has_its_output():
    names = {path.stem for path in ERRORS.glob("*.yaml")}
    assert len(names) >= 20
    assert names == {path.stem for path in ERRORS.glob("*.txt")}


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.yaml", "No such file or directory"), (".", "Is a directory"), ("a\0b", "null byte")]
)
def test_a_file_that_cannot_be_read_gives_one_error(name, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = told(Path(name))
    assert reason in text
    assert ":1:1: cannot be read: " in text
    assert len(text.splitlines()) == 1


def test_a_huge_file_is_not_read_to_its_end(tmp_path):
    assert told(Path("/dev/zero")) == "/dev/zero:1:1: is larger than the 1,048,576 bytes that a document may have"


def test_an_error_is_one_line_whatever_the_document_holds(tmp_path):
    path = tmp_path / "odd\nname.yaml"
    path.write_text('name: "two\\nlines\\u2028 \\e[31m"\naccess_points: {}\n"new\\nkey": 1\n')
    lines = told(path).splitlines()
    assert all("odd\\nname.yaml:" in line and line.isprintable() for line in lines)
    assert any("'two\\nlines\\u2028 \\x1b[31m'" in line for line in lines)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "star.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + STAR.read_bytes().replace(b"\n", b"\r\n"))
    assert load_topology(path) == load_topology(STAR)
