"""The report as a whole: from studies to the folder that a user opens."""

import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import numpy as np
import pytest

from testbed.aecnn.outcomes import Curve, Outcome, Ranking, Study, packed
from testbed.aecnn.photographs import open_photographs
from testbed.experiments.compression.experiment import quick
from testbed.experiments.compression.report import COLUMNS, report, write
from testbed.experiments.compression.shipped import Evaluated, agreement, evaluate
from testbed.experiments.compression.studies import ANALOGUE, Studies, StudyError
from testbed.experiments.report import Report
from testbed.experiments.tables import show
from testbed.jobs.profile import Profile
from tests.experiments.conftest import Planted, split, study

FIGURES = {"accuracy.svg", "difference.svg", "convergence.svg", "rankings.svg", "latency.svg"}


@pytest.fixture(scope="module")
def studies(planted: Planted) -> Studies:
    rng = np.random.default_rng(1)
    changed = {
        **planted,
        (split("aecnn", "layer3", 16, 4), "reference"): (0.91, 400.0),
        (split("aecnn", "layer3", 16, 4), "no recovery"): (0.84, 400.0),
    }
    curves = [
        Curve("layer3 step by step", (1.0, 2.0), (0.7, 0.9)),
        Curve("layer3 end to end", (1.0, 2.0), (0.5, 0.9)),
    ]
    importances = tuple(rng.random(512))
    rankings = [Ranking("layer3", by, importances, (importances, tuple(rng.random(512)))) for by in ("attention", "l1")]
    return Studies([study(changed, seed, curves, rankings) for seed in (1, 2, 3)])


@pytest.fixture(scope="module")
def made(studies: Studies, profile: Profile) -> Report:
    return report(studies, profile, None, None)


def test_the_folder_holds_tables_figures_and_every_outcome(
    made: Report, studies: Studies, profile: Profile, tmp_path: Path
) -> None:
    path = write(made, studies, profile, tmp_path / "new" / "folder")
    text = path.read_text()
    assert {name.name for name in path.parent.iterdir()} == {"report.md", "outcomes.csv", *FIGURES}
    for figure in FIGURES:
        assert f"]({figure})" in text
        assert ET.parse(path.parent / figure).getroot().tag.endswith("svg")
    for heading in (
        "Claims of the paper",
        "Goals of this project",
        "At equal measured bytes",
        "What each choice is worth",
        "Step by step against end to end",
        "How stable the ranking of channels is",
        "Which ratio under which latency limit",
    ):
        assert f"## {heading}\n" in text
    assert "49,152 bytes raw, 5,000 as the JPEG" in text
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    with (path.parent / "outcomes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(len(one.outcomes) for one in studies.studies)
    for row in rows:
        outcome = next(
            one
            for one in studies.studies[int(row["seed"]) - 1].outcomes
            if (one.option.encoding, one.variant) == (row["encoding"], row["variant"])
            and str(one.option.point.kept_channels if one.option.point else "") == row["kept_channels"]
            and str(one.option.point.bits if one.option.point else "") == row["bits"]
        )
        assert float(row["accuracy"]) == pytest.approx(outcome.right().mean())
        assert float(row["accuracy_low"]) < float(row["accuracy"]) < float(row["accuracy_high"])


def test_the_same_studies_give_the_same_bytes(made: Report, studies: Studies, profile: Profile, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(made, studies, profile, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_ablation_is_measured_against_the_reference(made: Report) -> None:
    (table,) = [one for one in made.rest if one.title.startswith("What each choice")]
    (row,) = table.rows
    assert row[:2] == ("no recovery", "layer3/k16/b4")
    assert float(row[3].split()[0]) == pytest.approx(7, abs=1)


def test_ratios_are_nominal_and_measured(made: Report) -> None:
    table = made.shown[0]
    (row,) = [row for row in table.rows if row[:2] == ("AECNN", "layer3/k16/b4")]
    assert row[2] == "256"
    assert int(row[3]) == pytest.approx(4 * 512 * 8 * 8 / 400, rel=0.02)


@pytest.mark.parametrize("columns", ["60", "160"])
def test_every_figure_is_whole_whatever_the_terminal(
    made: Report, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    show([*made.shown, *made.rest])
    text = capsys.readouterr().out
    assert "…" not in text
    for table in (*made.shown, *made.rest):
        assert all(figure in text for row in table.rows for figure in row[table.names :])


def test_a_study_survives_its_file(planted: Planted, tmp_path: Path) -> None:
    ranking = Ranking("layer3", "attention", (0.123456789, 0.5), ((1e-9, 2.0),))
    whole = study(planted, 4, rankings=[ranking])
    whole.save(tmp_path / "study.json")
    read = Study.load(tmp_path / "study.json")
    assert read.rankings[0].importances == pytest.approx(ranking.importances, rel=1e-4)
    assert msgspec.structs.replace(read, rankings=()) == msgspec.structs.replace(whole, rankings=())
    (tmp_path / "study.json").write_text('{"seed": "one"}')
    with pytest.raises(StudyError, match=r"study\.json.*seed"):
        Studies.load([tmp_path / "study.json"])


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few photographs of the sample."""
    folder = tmp_path_factory.mktemp("few")
    sample = open_photographs("sample")
    for index in range(0, 60, 10):
        path = folder / sample.name(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.jpeg(index))
    return folder


@pytest.fixture(scope="module")
def evaluated(few: Path) -> Evaluated:
    return evaluate("default", lambda share: None, str(few))


def as_study(evaluated: Evaluated, seed: int = 1) -> Study:
    outcomes = [
        Outcome(
            option, "", packed(right), tuple(int(size) for size in sizes), None, validation_accuracy=float(right.mean())
        )
        for option, right, sizes in zip(evaluated.options, evaluated.right, evaluated.payload_bytes, strict=True)
    ]
    photographs = evaluated.photographs
    return Study(seed, "", photographs, (0,) * len(photographs), tuple(outcomes), checkpoint=evaluated.checkpoint)


def test_what_is_shipped_agrees_with_the_study_of_itself(evaluated: Evaluated, few: Path, tmp_path: Path) -> None:
    as_study(evaluated).save(tmp_path / "compression-seed1.json")
    told: list[float] = []
    made = quick(tmp_path / "out", told.append, [tmp_path / "compression-seed1.json"], str(few))
    assert made.agrees and told[-1] == 1
    assert "agrees with the committed study of seed 1 in every answer and byte" in made.path.read_text()
    assert "The shipped checkpoint, evaluated here" in made.path.read_text()


def test_what_is_shipped_and_differs_from_its_study_is_said_to(evaluated: Evaluated, profile: Profile) -> None:
    study = as_study(evaluated)
    wrong = agreement(msgspec.structs.replace(evaluated, right=~evaluated.right), study)
    assert not wrong.agrees
    said = report(Studies([study]), profile, evaluated, wrong).heading
    assert "DISAGREES with the committed study of seed 1" in said
    assert "none of the committed studies" in report(Studies([study]), profile, evaluated, None).heading
    assert Studies([study]).of_checkpoint(evaluated.checkpoint) is study
    assert Studies([study]).of_checkpoint("another") is None


def test_photographs_are_matched_by_name(evaluated: Evaluated) -> None:
    """A study over more photographs, in another order."""
    n = len(evaluated.photographs)
    turned = Evaluated(
        evaluated.checkpoint,
        (*evaluated.photographs[::-1], "class/another.jpg"),
        evaluated.options,
        np.pad(evaluated.right[:, ::-1], ((0, 0), (0, 1))),
        np.pad(evaluated.payload_bytes[:, ::-1], ((0, 0), (0, 1))),
    )
    found = agreement(evaluated, as_study(turned, 7))
    # the noise that an analogue signal meets is drawn by a photograph's number
    compared = sum(option.encoding != ANALOGUE for option in evaluated.options)
    assert (found.seed, found.photographs, found.options, found.disagreements) == (7, n, compared, ())


def test_one_answer_of_many_may_round_apart(evaluated: Evaluated) -> None:
    n = 200
    right = np.tile(evaluated.right[:, :1], n)
    sizes = np.tile(evaluated.payload_bytes[:, :1], n)
    names = tuple(f"class/{number}" for number in range(n))
    base = Evaluated("", names, evaluated.options, right, sizes)
    for flipped, agrees in ((1, True), (10, False)):
        other = right.copy()
        other[3, :flipped] = ~other[3, :flipped]
        found = agreement(base, as_study(Evaluated("", names, evaluated.options, other, sizes)))
        assert [one.option for one in found.disagreements] == [evaluated.options[3]]
        assert found.agrees == agrees
        assert str(evaluated.options[3]) in found.in_words()


def test_nothing_in_common_does_not_agree(evaluated: Evaluated) -> None:
    stranger = msgspec.structs.replace(as_study(evaluated), photographs=("a",) * len(evaluated.photographs))
    found = agreement(evaluated, stranger)
    assert not found.agrees and "in common" in found.in_words()
