import importlib
import sys
from pathlib import Path

import numpy

from testbed.runtime.user_modules import make_importable_anew


def test_an_edited_module_is_read_anew_and_others_stay(tmp_path: Path) -> None:
    folders = [str(tmp_path), str(Path(numpy.__file__).parents[1])]
    (tmp_path / "mine_of_the_test.py").write_text("VALUE = 1")
    make_importable_anew(folders)
    assert importlib.import_module("mine_of_the_test").VALUE == 1
    (tmp_path / "mine_of_the_test.py").write_text("VALUE = 23  # another size, as the cache goes by size and second")
    make_importable_anew(folders)
    assert importlib.import_module("mine_of_the_test").VALUE == 23
    assert sys.modules["numpy"] is numpy
    sys.path.remove(str(tmp_path))
