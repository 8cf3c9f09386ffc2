"""`testbed validate` and `testbed schema` as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli.schema import schema
from testbed.cli.validate import validate

ROOT = Path(__file__).parents[2]
ERRORS = Path(__file__).parent / "errors"


@pytest.fixture
def call(monkeypatch):
    monkeypatch.chdir(ROOT)
    app = typer.Typer()
    app.command()(validate)
    app.command()(schema)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_good_files_are_summed_up(call):
    result = call("validate", "workloads/steady.yaml", "topologies/star.yaml", "topologies/pair.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "topologies/star.yaml: ok (topology, 8 devices, 1 edge, 9 links)\n" in result.stdout
    assert "topologies/pair.yaml: ok (topology, 1 device, 1 edge, 2 links)\n" in result.stdout
    assert result.stdout.startswith("workloads/steady.yaml: ok (workload, ")


def test_errors_of_all_files_are_told_on_stderr_one_a_line(call):
    files = [f"tests/documents/errors/{name}.yaml" for name in ("loop", "workload_fields", "missing")]
    result = call("validate", files[0], "topologies/star.yaml", *files[1:])
    assert result.exit_code == 2
    assert result.stdout == "topologies/star.yaml: ok (topology, 8 devices, 1 edge, 9 links)\n"
    expected = sum(len((ERRORS / f"{name}.txt").read_text().splitlines()) for name in ("loop", "workload_fields"))
    lines = result.stderr.splitlines()
    assert len(lines) == expected + 1
    assert all(any(line.startswith(file) for file in files) for line in lines)


def test_a_trace_that_is_wrong_is_told_with_its_own_line(call):
    result = call("validate", "tests/documents/errors/traces.yaml", "topologies/traced.yaml")
    assert result.exit_code == 2
    assert result.stdout == "topologies/traced.yaml: ok (topology, 4 devices, 1 edge, 5 links)\n"
    assert "tests/documents/errors/traces/rows.csv:5:5: bandwidth_bps: 'fast' is not a number" in result.stderr


def test_a_workload_is_checked_against_the_one_topology_beside_it(call):
    workload = "tests/documents/errors/workload_meets_topology.yaml"
    alone, beside = call("validate", workload), call("validate", workload, "topologies/star.yaml")
    assert "no node matches 'dev9'" not in alone.stderr
    assert "no node matches 'dev9', did you mean 'dev8'?" in beside.stderr


def test_schema_prints_json(call):
    for document, field in (("topology", "links"), ("workload", "offloading")):
        result = call("schema", document)
        assert result.exit_code == 0
        assert field in json.loads(result.stdout)["properties"]


def test_reading_documents_imports_nothing_heavy():
    code = "import sys, testbed.documents.loading, testbed.cli.validate; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "ray", "numpy", "pandas", "mininet"} & set(modules.split())
