"""Builds the programs written in C into the package: into the wheel, or beside their sources when editable."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

SOURCES = Path("testbed/network/native")


class BuildNative(Command):
    """Compiles each `NAME.c` to the program `bin/NAME` beside it (`python setup.py build_native`), a `libNAME.c` to a
    library."""

    description = "compile the programs written in C beside their sources"
    user_options: ClassVar = [("into=", None, "the folder that is to hold them")]

    def initialize_options(self) -> None:
        """Begin with the default."""
        self.into: str | None = None

    def finalize_options(self) -> None:
        """Fill in the default."""
        self.into = self.into or str(SOURCES / "bin")

    def run(self) -> None:
        """Compile."""
        assert self.into is not None
        Path(self.into).mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        for source in sorted(SOURCES.glob("*.c")):
            target = Path(self.into) / source.stem
            fresh = target.with_suffix(".new")  # a running program's file cannot be written to, but it can be replaced
            kind = ["-shared", "-fPIC"] if source.stem.startswith("lib") else ["-pthread"]
            libraries = ["-ldl"] if source.stem.startswith("lib") else ["-lm"]
            subprocess.run([*compiler, "-O2", "-Wall", "-Wextra", *kind, "-o", fresh, source, *libraries], check=True)
            fresh.replace(target)


class BuildPython(build_py):
    """Copies the package, then compiles the programs into it."""

    def run(self) -> None:
        """Copy, then compile."""
        super().run()
        native = self.distribution.get_command_obj("build_native")
        native.into = str(SOURCES / "bin" if self.editable_mode else Path(self.build_lib) / SOURCES / "bin")
        self.run_command("build_native")


class PlatformWheel(bdist_wheel):
    """A wheel for this platform and any Python 3: it holds programs, but no extension modules."""

    def finalize_options(self) -> None:
        """Say that it is not pure Python."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, this platform."""
        return "py3", "none", super().get_tag()[2]


class WithPrograms(Distribution):
    """A distribution that is not pure Python."""

    def has_ext_modules(self) -> bool:
        """Programs count as such."""
        return True


setup(
    distclass=WithPrograms,
    cmdclass={"build_native": BuildNative, "build_py": BuildPython, "bdist_wheel": PlatformWheel},
)
