import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.aecnn.division import divide
from testbed.aecnn.photographs import PhotographError, decode_jpeg, open_photographs


def jpeg(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode).save(buffer, "JPEG")
    return buffer.getvalue()


FILES = {
    "101_ObjectCategories/crab/image_0002.jpg": jpeg(300, 200, 1),
    "101_ObjectCategories/crab/image_0001.jpg": jpeg(128, 128, 2),
    "101_ObjectCategories/ant/image_0001.jpg": jpeg(100, 90, 3, mode="L"),
    "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": jpeg(100, 90, 4),
    "101_ObjectCategories/crab/notes.txt": b"not a photograph",
}


@pytest.fixture(params=["folder", "zip"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        for name, data in FILES.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return tmp_path
    with zipfile.ZipFile(tmp_path / "photographs.zip", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return tmp_path / "photographs.zip"


def test_a_folder_and_a_zip_give_the_same_photographs(place: Path) -> None:
    photographs = open_photographs(place)
    assert photographs.classes == ("ant", "crab")
    names = [photographs.name(index) for index in range(len(photographs))]
    assert names == ["ant/image_0001.jpg", "crab/image_0001.jpg", "crab/image_0002.jpg"]
    assert [photographs.label(index) for index in range(3)] == [0, 1, 1]
    for index in range(3):
        assert photographs.pixels(index).shape == (128, 128, 3)
        assert np.array_equal(photographs.pixels(index), decode_jpeg(photographs.jpeg(index)))


def test_a_photograph_of_the_right_size_is_sent_as_it_is_stored(place: Path) -> None:
    photographs = open_photographs(place)
    assert photographs.jpeg(1) == FILES["101_ObjectCategories/crab/image_0001.jpg"]


def test_labels_index_the_classes_given(place: Path) -> None:
    photographs = open_photographs(place, ("ant", "bee", "crab"))
    assert [photographs.label(index) for index in range(3)] == [0, 2, 2]
    with pytest.raises(PhotographError, match="crab"):
        open_photographs(place, ("ant", "bee"))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotographError, match="no such"):
        open_photographs(tmp_path / "absent")
    with pytest.raises(PhotographError, match="no <class>"):
        open_photographs(tmp_path)
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(PhotographError, match="neither a folder nor a zip"):
        open_photographs(tmp_path / "text.zip")
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "image_0001.jpg").write_bytes(jpeg(40, 40)[:200])
    with pytest.raises(PhotographError, match=r"ant/image_0001\.jpg"):
        open_photographs(tmp_path).pixels(0)


def test_the_division_is_seeded_disjoint_and_has_every_class_on_every_side(tmp_path: Path) -> None:
    data = jpeg(128, 128)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for name, count in {"Faces": 200, "Faces_easy": 200, "ant": 31}.items():
            for number in range(count):
                archive.writestr(f"{name}/image_{number:04d}.jpg", data)
    photographs = open_photographs(tmp_path / "many.zip")
    division = divide(photographs)
    assert division == divide(photographs) != divide(photographs, seed=2)
    sides = [set(division.train), set(division.validation), set(division.test)]
    assert sum(map(len, sides)) == len(photographs) == len(set.union(*sides))
    assert [sum(name.startswith("ant/") for name in side) for side in sides] == [26, 2, 3]
    assert [sum(name.startswith("Faces/") for name in side) for side in sides] == [176, 8, 16]  # shares, uncapped
    for side in sides:
        numbers = {
            cropping: {name.split("/")[1] for name in side if name.startswith(f"{cropping}/")}
            for cropping in ("Faces", "Faces_easy")
        }
        assert numbers["Faces"] == numbers["Faces_easy"]
    assert sorted(photographs.name(index) for index in division.indices(photographs, "test")) == list(division.test)
