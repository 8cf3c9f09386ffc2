"""What one lab machine has: its software, kernel, addresses, free ports and disk."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

import testbed
from testbed.cluster.ports import free_blocks
from testbed.documents.model import one_of
from testbed.network.diagnosis import Diagnosis, diagnose

FOLDERS = {"/run": 256, "/dev/shm": 128, "/tmp": 256}
"""The folders that a testbed writes to on each machine, and the MiB that it may need there."""

_CODE = {".py", ".c", ".h", ".json", ".yaml", ".safetensors", ".zip"}


class Asked(msgspec.Struct, frozen=True):
    """What a machine is asked about: its own addresses, as the topology has them."""

    address: str
    tunnel_address: str


class Fault(NamedTuple):
    """What is amiss, and what mends it."""

    detail: str
    remedy: str


class Software(msgspec.Struct, frozen=True):
    """What has to be the same on all machines."""

    version: str  # of the testbed
    code: str  # its files' digest
    python: str  # with its patch level, as Ray compares it
    architecture: str
    packages: dict[str, str]  # those of which the testbed requires a version of its choice, "" where missing

    def fault_beside(self, driver: Software, name: str) -> Fault | None:
        """In what this differs from what the driver's machine, of that name, has; None if it does not."""
        pairs = [
            ("Python", self.python, driver.python),
            ("architecture", self.architecture, driver.architecture),
            ("testbed", f"{self.version} of files {self.code}", f"{driver.version} of files {driver.code}"),
            *((package, self.packages.get(package), version) for package, version in driver.packages.items()),
        ]
        differing = [f"{what} {own or 'missing'} (on {name} {its})" for what, own, its in pairs if own != its]
        if not differing:
            return None
        remedy = "run `testbed machines prepare TOPOLOGY`"
        if (self.python, self.architecture) != (driver.python, driver.architecture):
            remedy = f"give as `python` one of version {driver.python} on {driver.architecture}"
        return Fault(f"has other software: {one_of(differing, 4)}", remedy)


class Facts(msgspec.Struct, frozen=True):
    """What one machine has."""

    software: Software
    kernel: str
    cpus: int
    memory_bytes: int
    diagnosis: Diagnosis
    addresses: list[str]
    free_blocks: list[int]  # of ports; none where the address is not the machine's
    free_bytes: dict[str, int]  # by folder


def facts(asked: Asked) -> Facts:
    """All that is to be known about this machine. Needs root, leaves nothing behind."""
    addresses = sorted(
        address.address
        for those in psutil.net_if_addrs().values()
        for address in those
        if address.family == socket.AF_INET
    )
    return Facts(
        software=software(),
        kernel=platform.release(),
        cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        diagnosis=diagnose(),
        addresses=addresses,
        free_blocks=free_blocks(asked.address),
        free_bytes={folder: shutil.disk_usage(folder).free for folder in FOLDERS},
    )


def software() -> Software:
    """The versions of what runs this, and a digest of the testbed's own files."""
    packages = {}
    for requirement in metadata.requires("testbed") or []:
        wanted, _, condition = requirement.partition(";")
        name, pinned, _ = wanted.strip().partition("==")
        if pinned and "extra" not in condition:
            try:
                packages[name] = metadata.version(name).split("+")[0]
            except metadata.PackageNotFoundError:
                packages[name] = ""
    return Software(metadata.version("testbed"), _digest(), platform.python_version(), platform.machine(), packages)


def installed(asked: None) -> Software:
    """The same, for who asks from another machine."""
    return software()


def _digest() -> str:
    """Of the testbed's code and data as they lie here, whatever way they were installed."""
    assert testbed.__file__ is not None
    root = Path(testbed.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
