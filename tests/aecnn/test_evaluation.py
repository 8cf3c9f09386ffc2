import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from testbed.aecnn.photographs import open_photographs
from testbed.cli.errors import WrongInputError
from testbed.cli.evaluate import evaluate
from testbed.cli.train import app as train

app = typer.Typer()
app.command()(evaluate)
app.add_typer(train, name="train")

FIELDS = {
    "kind",
    "encoding",
    "accuracy_interval",
    "mean_class_interval",
    "split",
    "kept_channels",
    "bits",
    "nominal_ratio",
    "payload_mean",
    "payload_p95",
    "accuracy",
    "mean_class_accuracy",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs of the sample, two of them of one class."""
    sample = open_photographs("sample")
    for index in (0, 1, 200):
        path = tmp_path / "few" / sample.name(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.jpeg(index))
    return tmp_path / "few"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", *arguments])


def test_json_is_one_value_with_the_uncompressed_network_and_every_point(folder: Path) -> None:
    answer = run("default", "--images", str(folder), "--json")
    assert answer.exit_code == 0
    result = json.loads(answer.stdout)
    assert set(result) == {"checkpoint", "images", "n", "points", "others"}
    assert (result["checkpoint"], result["images"], result["n"]) == ("default", str(folder), 3)
    assert all(set(point) == FIELDS for point in result["points"])
    uncompressed, *points = result["points"]
    assert uncompressed["split"] is uncompressed["bits"] is uncompressed["nominal_ratio"] is None
    assert {point["split"] for point in points} == {"layer2", "layer3"}
    for point in result["points"]:
        assert any(point["accuracy"] == pytest.approx(right / 3) for right in range(4))
        assert any(point["mean_class_accuracy"] == pytest.approx(quarters / 4) for quarters in range(5))
        assert 0 < point["payload_mean"] <= point["payload_p95"] * 1.05
    smallest = min(points, key=lambda point: point["payload_mean"])
    assert smallest["payload_mean"] < uncompressed["payload_mean"]


def test_table_names_every_point(folder: Path) -> None:
    answer = run("default", "--images", str(folder))
    assert answer.exit_code == 0
    assert "3 photographs" in answer.stdout
    assert all(word in answer.stdout for word in ("jpeg", "layer2/k", "layer3/k16/b4"))


@pytest.mark.parametrize("arguments", [("absent.safetensors",), ("default", "--images", "absent")])
def test_what_is_absent_is_named(arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert isinstance(answer.exception, WrongInputError)
    assert answer.stdout == "" and "absent" in str(answer.exception)


def test_training_names_what_is_wrong_with_its_file_and_makes_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: one\n")
    arguments = ["--data", str(folder), "--weights", "absent.onnx", "--output", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, ["train", "aecnn", str(tmp_path / "config.yaml"), *arguments])
    assert isinstance(answer.exception, WrongInputError)
    assert "config.yaml" in str(answer.exception) and "seed" in str(answer.exception)
    assert not (tmp_path / "out").exists()
