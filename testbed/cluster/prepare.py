"""Lab machines made ready: Debian packages, an environment, and the project's own wheel in it.

What is there already is left as it is, so that it may be called again at any time. A machine whose environment holds
the driver's very files and versions is not touched.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

import msgspec

import testbed
from testbed.cluster.facts import Software, software
from testbed.cluster.placement import here
from testbed.cluster.ssh import FailedError, MachineError, Remote, UnreachableError, connected, in_parallel
from testbed.documents.resolved import ResolvedTopology
from testbed.network.diagnosis import PROGRAMS
from testbed.network.errors import NetworkError, RefusedError

_SOURCE = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
_LEFT_OUT = ("cc", "ovs-vswitchd")  # the wheel holds what is compiled; Open vSwitch is a choice
_APT_S, _PIP_S = 900.0, 3600.0
_AS_ROOT = 'export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive'
_MISSING = f'{_AS_ROOT}; for one; do command -v "$one" >/dev/null || echo "$one"; done'
_APT = f'{_AS_ROOT}; apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"'
_STATE = """
import json, platform, sysconfig
from importlib import metadata
url = {}
for own in metadata.distributions(name="testbed", path=[sysconfig.get_path("purelib")]):
    url = json.loads(own.read_text("direct_url.json") or "{}")
print(json.dumps([platform.python_version(), url["url"] if url.get("dir_info", {}).get("editable") else None]))
"""

Tell = Callable[[str], None]


class Prepared(msgspec.Struct, frozen=True):
    """What was done on one machine; nothing if it had all."""

    machine: str
    ok: bool
    done: list[str]
    error: str | None = None


def prepare(topology: ResolvedTopology, torch_index: str | None, tell: Tell) -> list[Prepared]:
    """Makes every machine of a topology but this one ready, all at once; what was done on each, in its order.

    Args:
        topology: one with machines, this one among them.
        torch_index: URL of the index where pip finds torch on the machines; None: where it finds the rest.
        tell: hears of each step.

    Raises:
        RefusedError: it names no machines, this is none of them, or this testbed was installed without its sources.
        NetworkError: the wheel could not be built.
    """
    if not topology.machines:
        raise RefusedError(f"{topology.name} names no `machines`: give them, or run `make setup` for this one")
    driver = here(topology)
    others = [machine for machine in topology.machines if machine.name != driver]
    own = software()
    with connected(others) as found:
        begun = in_parallel(lambda remote: _begun(remote, own, tell), found)
        results = begun
        if any(isinstance(one, _Begun) and not one.ready for one in begun.values()):
            with _wheel(tell) as wheel:
                results = in_parallel(lambda one: _finished(one, wheel, own, torch_index), begun)
    return [
        Prepared(
            name,
            ok=not isinstance(one, MachineError),
            done=first.done if isinstance(first := begun[name], _Begun) else [],
            error=one.fault if isinstance(one, MachineError) else None,
        )
        for name, one in results.items()
    ]


class _Begun:
    """A machine being prepared: what was done on it so far, and whether that was all."""

    def __init__(self, remote: Remote, tell: Tell) -> None:
        self.remote = remote
        self.done: list[str] = []
        self.ready = False
        self._tell = tell

    def step(self, what: str) -> None:
        """Tells what is done next."""
        self._tell(f"{self.remote.machine.name}: {what}")
        self.done.append(what)


def _begun(remote: Remote, own: Software, tell: Tell) -> _Begun:
    """The Debian packages installed, the environment made, and whether it holds what the driver's does."""
    one = _Begun(remote, tell)
    wanted = {name: package for name, (package, _) in PROGRAMS.items() if name not in _LEFT_OUT}
    missing = _must(remote, ["sh", "-c", _MISSING, "-", *wanted], 60.0).split()
    _install_packages(one, sorted({wanted[name] for name in missing}))
    found = _software(remote)
    one.ready = found is not None and not found.fault_beside(own, "this machine")
    if not one.ready:
        _environment(one, own)
    return one


def _finished(one: _Begun, wheel: Path, own: Software, torch_index: str | None) -> _Begun:
    if not one.ready:
        _install(one, wheel, own, torch_index)
        one.ready = True
    return one


def _install_packages(one: _Begun, packages: list[str]) -> None:
    if packages:
        one.step(f"installing the Debian packages {', '.join(packages)}")
        _must(one.remote, ["sh", "-c", _APT, "-", *packages], _APT_S)


def _software(remote: Remote) -> Software | None:
    """What the environment there holds; None where it holds no testbed."""
    try:
        return remote.call("software", None, Software)
    except UnreachableError:
        raise
    except MachineError:
        return None


def _environment(one: _Begun, own: Software) -> None:
    """Makes the environment, if it is not there."""
    remote, machine = one.remote, one.remote.machine
    python = PurePosixPath(machine.python)
    folder = str(python.parent.parent)
    if python.parent.name != "bin":
        fault = f"`python` is {python}, which is no environment's: give such as /opt/testbed/bin/python"
        raise FailedError(machine, fault)
    told = remote.run([str(python), "-c", _STATE])
    if told.exit_status == 0:
        version, checkout = msgspec.json.decode(told.stdout.split(b"\n")[-2], type=tuple[str, str | None])
        if version != own.python:
            fault = f"{python} is Python {version}, the driver's is {own.python}: remove {folder} there"
            raise FailedError(machine, fault)
        if checkout:
            fault = f"{python} runs the testbed out of {checkout}, which has other files or packages than the driver's"
            raise FailedError(machine, f"{fault}: bring it up to date there, or give another `python`")
        return
    base = f"python{own.python.rpartition('.')[0]}"
    if remote.run([base, "-c", "import ensurepip, venv"]).exit_status != 0:
        _install_packages(one, [f"{base}-venv"])
    one.step(f"making the environment {folder}")
    _must(remote, [base, "-m", "venv", folder], _APT_S)


def _install(one: _Begun, wheel: Path, own: Software, torch_index: str | None) -> None:
    remote = one.remote
    pip = [remote.machine.python, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", "install"]
    folder = _must(remote, ["mktemp", "-d"], 60.0).strip()
    try:
        path = f"{folder}/{wheel.name}"
        remote.put(wheel.read_bytes(), path, 600.0)
        one.step("installing the testbed and what it needs")
        if torch_index:
            _must(remote, [*pip, "--index-url", torch_index, f"torch=={own.packages['torch']}"], _PIP_S)
        _must(remote, [*pip, path], _PIP_S)
        _must(remote, [*pip, "--force-reinstall", "--no-deps", path], _PIP_S)  # pip leaves the same version as it is
    finally:
        with contextlib.suppress(UnreachableError):
            remote.run(["rm", "-rf", "--", folder])
    if fault := remote.call("software", None, Software).fault_beside(own, "this machine"):
        raise FailedError(remote.machine, f"{fault.detail}, in spite of all: see `testbed machines check TOPOLOGY`")


def _must(remote: Remote, argv: list[str], timeout_s: float) -> str:
    done = remote.run(argv, timeout_s=timeout_s)
    if done.exit_status != 0:
        raise FailedError(remote.machine, f"{' '.join(argv[:3])} ... failed: {done.complaint}")
    return done.stdout.decode()


def _source() -> Path:
    assert testbed.__file__ is not None
    source = Path(testbed.__file__).parents[1]
    missing = [name for name in _SOURCE if not (source / name).exists()]
    if missing:
        version = metadata.version("testbed")
        where = f"this testbed ({version}, in {source}) was installed without its sources"
        raise RefusedError(f"{where}: call this from a checkout that `make setup` was run in")
    return source


@contextlib.contextmanager
def _wheel(tell: Tell) -> Iterator[Path]:
    """The project's wheel, built from a copy of its sources, for the time of the block.

    Raises:
        RefusedError: this testbed was installed without its sources.
        NetworkError: it could not be built.
    """
    source = _source()
    with tempfile.TemporaryDirectory(prefix="testbed-wheel-") as name:
        copy = Path(name) / "source"
        tell("building the wheel")
        ignored = shutil.ignore_patterns("__pycache__", "bin")
        shutil.copytree(source / "testbed", copy / "testbed", ignore=ignored)
        for file in _SOURCE:
            shutil.copy(source / file, copy)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", name, str(copy)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        wheels = list(Path(name).glob("*.whl"))
        if built.returncode != 0 or len(wheels) != 1:
            last = (built.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise NetworkError(
                f"the wheel could not be built: {last}; a C compiler is needed (apt install gcc libc6-dev)"
            )
        yield wheels[0]
