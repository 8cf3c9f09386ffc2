"""Classes of users' own: the one that works, and what is wrong with every other."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from testbed.aecnn.loading import load_model
from testbed.aecnn.model import infer
from testbed.aecnn.own.check import check_stages
from testbed.aecnn.own.profile import kept_profile, measure
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.photographs import Photographs, open_photographs
from testbed.aecnn.whole_photograph import decode_whole
from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, OperatingPoint, Option

SPLIT = Option(Kind.SPLIT, "mine", OperatingPoint("pool", 3, 8))
WEBP = Option(Kind.FULL, "webp-20")
EXIT = Option(Kind.LOCAL, "exit")

GOOD = '''
import numpy as np
import torch

from testbed.aecnn.photographs import open_photographs
from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, OperatingPoint, Option


class Mine:
    """Classes by the mean colours of 8 x 8 tiles, which are what travels."""

    classes = open_photographs("sample").classes
    options = (
        LOCAL, RAW, JPEG, Option(Kind.SPLIT, "mine", OperatingPoint("pool", 3, 8)), Option(Kind.FULL, "webp-20"),
        Option(Kind.LOCAL, "exit"),
    )

    def __init__(self):
        torch.manual_seed(1)
        self.parts = {"tail": torch.nn.Linear(192, 101).requires_grad_(False)}

    def head(self, pixels, option):
        if option.encoding == "exit":
            return 0
        pooled = torch.nn.functional.avg_pool2d(torch.tensor(pixels).permute(2, 0, 1)[None].float(), 16)
        return pooled if option.kind is Kind.SPLIT else self.tail(pooled, option)

    def encode(self, features, option, image):
        return features.round().to(torch.uint8).numpy().tobytes()

    def decode(self, payload, option, image):
        return torch.tensor(np.frombuffer(payload, np.uint8).reshape(1, 3, 8, 8)).float()

    def tail(self, features, option):
        return int(self.parts["tail"](features.flatten(1)).argmax())

'''

WRONG_AT_FIRST_SIGHT = {
    "head = None": "has no method head(pixels, option): write it",
    "def encode(self, features): return b''": "encode(features), and is called as encode(features, option, image)",
    "def __init__(self, width): pass": "cannot be made without arguments (TypeError",
    "classes = 'cat', 'cat'": "classes has 'cat' twice",
    "classes = 101": "classes must be a tuple",
    "classes = ()": "classes must be a tuple",
    "options = ('local',)": "options has 'local', which is no Option",
    "options = (LOCAL, RAW, LOCAL)": "options has 'local' twice",
    "options = (RAW, JPEG)": "options has no LOCAL: add it",
    "options = (LOCAL, Option('sideways'))": "there is no such kind, write Kind.LOCAL",
    "options = (LOCAL, Option(Kind.SPLIT, 'mine'))": "a split has a method as its encoding, and an operating point",
    "options = (LOCAL, Option(Kind.SPLIT, '', OperatingPoint('pool', 3, 8)))": "a split has a method",
    "options = (LOCAL, Option(Kind.SPLIT, 'mine', OperatingPoint('pool', 0, 8)))": "at least 1 channel",
    "options = (LOCAL, Option(Kind.SPLIT, 'mine', OperatingPoint('pool', 3, '8')))": "Expected `int`, got `str`",
    "options = (LOCAL, Option(Kind.LOCAL, '', OperatingPoint('pool', 3, 8)))": "only a split has an operating point",
    "options = (LOCAL, Option(Kind.FULL, 'png'))": "'png' is not FORMAT-QUALITY, such as jpeg-20 or webp-5",
    "profile = 3": "profile must be a testbed Profile",
    "profile = __import__('testbed.jobs.profile').jobs.profile.Profile('', '', 1, 128, 1.0, ())": "no row for 'local'",
    "fingerprint = 3": "fingerprint must be text",
    "input_px = 0": "input_px must be a whole number from 1",
}

WRONG_WITH_A_PHOTOGRAPH = {
    "def head(self, pixels, option): return pixels.nothing": "head for 'local' raised AttributeError",
    "def head(self, pixels, option): return 101": "head for 'local' gave 101: return the class's index",
    "def encode(self, features, option, image): return 'text'": f"encode for '{SPLIT}' gave str: return bytes",
    "def decode(self, payload, option, image): return payload[3000]": f"decode for '{SPLIT}' raised IndexError",
    "def tail(self, features, option): return 0.5": "gave 0.5: return the class's index, a whole number from 0 to 100",
    "def tail(self, features, option): return -1": "gave -1: return the class's index",
    "def encode(self, features, option, image): return np.random.default_rng().bytes(192)": "gives two payloads",
    "def __init__(self): torch.seed(); self.parts = torch.nn.Linear(192, 101)": "no two objects of it hold the same",
    "def tail(self, features, option): self.n = getattr(self, 'n', 0) + 1; return self.n": "gives two classes",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a module with the class that works and one below it, and gives the latter's name."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(body: str = "pass") -> str:
        sys.modules.pop("mine_of_the_test", None)
        (tmp_path / "mine_of_the_test.py").write_text(f"{GOOD}\nclass Own(Mine):\n    {body}\n")
        for compiled in tmp_path.glob("__pycache__/*"):
            compiled.unlink()  # a cache goes by size and second
        return "mine_of_the_test:Own"

    yield module
    sys.modules.pop("mine_of_the_test", None)


@pytest.fixture
def sample() -> Photographs:
    return open_photographs("sample")


class Few:
    """The first photographs of many."""

    def __init__(self, photographs: Photographs, n: int) -> None:
        self._photographs, self._n = photographs, n

    def __len__(self) -> int:
        return self._n

    def __getattr__(self, name: str) -> object:
        return getattr(self._photographs, name)


def test_a_class_of_ones_own_does_what_a_checkpoint_does(write, sample: Photographs) -> None:
    name = write()
    model = load_model(name)
    check_stages(name, model, sample.jpeg(0))
    model.warm_up()
    assert model.options == (LOCAL, RAW, JPEG, SPLIT, WEBP, EXIT)
    told: list[float] = []
    prepared = list(model.prepare(sample, [4, 7], told.append))
    assert told == [0.5, 1]
    assert [(one.image, one.option) for one in prepared] == [(n, option) for n in (4, 7) for option in model.options]
    pixels = sample.pixels(4)
    by_option = {one.option: one for one in prepared[: len(model.options)]}
    assert by_option[SPLIT] == infer(model, pixels, SPLIT, 4)
    assert len(by_option[SPLIT].payload) == 192
    assert by_option[RAW].payload == pixels.tobytes()
    assert by_option[JPEG].payload == sample.jpeg(4)
    assert by_option[RAW].predicted == by_option[JPEG].predicted == by_option[LOCAL].predicted
    assert 0 < len(by_option[WEBP].payload) < len(by_option[JPEG].payload)
    assert decode_whole(by_option[WEBP].payload, WEBP, 128).shape == (128, 128, 3)
    assert (by_option[EXIT].predicted, by_option[EXIT].payload) == (0, b"")
    only = list(model.prepare(sample, [4], told.append, [SPLIT]))
    assert only == [by_option[SPLIT]]


@pytest.mark.parametrize("body", WRONG_AT_FIRST_SIGHT)
def test_what_is_wrong_at_first_sight_is_refused_when_it_is_loaded(write, body: str) -> None:
    name = write(body)
    with pytest.raises(ModelError) as refused:
        load_model(name)
    assert str(refused.value).startswith(f"{name}: ")
    assert WRONG_AT_FIRST_SIGHT[body] in str(refused.value)


@pytest.mark.parametrize("body", WRONG_WITH_A_PHOTOGRAPH)
def test_what_goes_wrong_with_a_photograph_is_refused_by_the_check(write, sample: Photographs, body: str) -> None:
    name = write(body)
    model = load_model(name)
    with pytest.raises(ModelError) as refused:
        check_stages(name, model, sample.jpeg(0))
    assert str(refused.value).startswith(f"{name}: ")
    assert WRONG_WITH_A_PHOTOGRAPH[body] in str(refused.value)


def test_a_stage_that_raises_is_told_with_its_line(write, sample: Photographs) -> None:
    model = load_model(write("def tail(self, features, option):\n        raise ValueError('one\\ntwo')"))
    line = GOOD.count("\n") + 4
    with pytest.raises(ModelError, match=rf"raised ValueError: one \(mine_of_the_test.py:{line}\): it must take"):
        infer(model, sample.pixels(0), SPLIT, 0)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.to_be:Found", "cannot import nowhere.to_be (ModuleNotFoundError"),
        ("json:Nothing", "json has no class 'Nothing'"),
        ("json:dumps", "json has no class 'dumps'"),
    ],
)
def test_a_class_that_is_not_there_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(ModelError) as refused:
        load_model(name)
    assert str(refused.value).startswith(f"{name}: ") and complaint in str(refused.value)


def test_the_fingerprint_is_the_same_until_source_or_weights_change(write, tmp_path: Path) -> None:
    def fingerprint(body: str = "pass") -> str:
        return load_model(write(body)).fingerprint

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint("bits = 4")
    weights = tmp_path / "weights.txt"
    loading = (
        f"def __init__(self): super().__init__(); self.parts['tail'].bias[0] = np.loadtxt({str(weights)!r}).item()"
    )
    found = set()
    for value in ("1", "2"):
        weights.write_text(value)
        found.add(fingerprint(loading))
    assert len(found) == 2
    assert fingerprint("fingerprint = 'one'") == fingerprint("fingerprint = 'one'  # and other source")
    assert fingerprint("fingerprint = 'one'") != fingerprint("fingerprint = 'two'")


def test_a_module_that_the_class_takes_from_is_part_of_the_fingerprint(write, tmp_path: Path) -> None:
    found = set()
    for value in (1, 2):
        (tmp_path / "taken_from_by_the_test.py").write_text(f"VALUE = {value}  {'#' * value}")
        sys.modules.pop("taken_from_by_the_test", None)
        found.add(load_model(write("import taken_from_by_the_test as other")).fingerprint)
    sys.modules.pop("taken_from_by_the_test", None)
    assert len(found) == 2


def test_without_weights_to_be_seen_a_fingerprint_is_asked_for(write) -> None:
    model = load_model(write("def __init__(self): pass"))
    with pytest.raises(ModelError, match="give it a `fingerprint`"):
        _ = model.fingerprint


def test_the_profile_is_measured_once_and_kept(write, sample: Photographs, tmp_path: Path) -> None:
    name = write()
    model, few, told = load_model(name), Few(sample, 12), []
    profile = kept_profile(tmp_path / "kept" / "profile.json", name, model, few, "few", told.append)
    assert told[-1] == 1
    assert tuple(row.option for row in profile.rows) == model.options
    assert (profile.n, profile.images, len(profile.checkpoint)) == (12, "few", 64)
    rows = profile.by_option
    layer = 2 * 192 * len(model.classes)
    assert rows[LOCAL].head_flops == rows[RAW].tail_flops == rows[SPLIT].tail_flops == layer
    assert rows[SPLIT].payload_mean == rows[SPLIT].payload_p95 == 192
    assert rows[SPLIT].encode_flops == pytest.approx(rows[SPLIT].encode_s * profile.reference_flops_per_s)
    assert rows[SPLIT].head_flops == pytest.approx(rows[SPLIT].head_s * profile.reference_flops_per_s)  # none counted
    assert rows[WEBP].encode_s > 0 and rows[WEBP].head_flops == 0
    right = [model.head(few.pixels(n), LOCAL) == few.label(n) for n in range(12)]
    assert rows[LOCAL].accuracy == np.mean(right)
    told.clear()
    assert kept_profile(tmp_path / "kept" / "profile.json", name, model, few, "few", told.append) == profile
    assert told == []


def test_a_network_whose_flops_torch_does_not_count_is_refused(write, sample: Photographs) -> None:
    name = write("def head(self, pixels, option): return 0\n    options = (LOCAL,)")
    with pytest.raises(ModelError, match=f"{name}: torch counts no FLOPs in head for 'local'"):
        measure(name, load_model(name), Few(sample, 2), "few", lambda _: None)


def test_photographs_have_the_size_that_is_asked_for(write) -> None:
    model = load_model(write("input_px = 64"))
    pixels = open_photographs("sample", model.classes, model.input_px).pixels(0)
    assert pixels.shape == (64, 64, 3)
    np.testing.assert_array_equal(model.decode(model.encode(pixels, RAW, 0), RAW, 0), pixels)
