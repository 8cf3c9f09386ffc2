"""Which shaping this kernel can do, found out by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from testbed.network.errors import ShapingUnavailableError
from testbed.network.shape import Shaping

_TRIAL = (
    "link add a type veth peer name b",
    "link add in-a type ifb",
)
_SHAPED = (
    "qdisc add dev a root handle 1: stab overhead -14 linklayer ethernet htb default 1",
    "class add dev a parent 1: classid 1:1 htb rate 1mbit burst 1600 cburst 1600",
    "qdisc add dev a handle ffff: ingress",
    "filter add dev a parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev in-a",
    "qdisc add dev in-a root netem rate 1mbit delay 1ms 0.1ms loss 1%",
)
_MEND = "use --shaping relay, or a kernel with it (modprobe sch_netem; Debian: apt install linux-image-amd64)"


def netem_fault() -> str | None:
    """Why links cannot be shaped by netem here; None if they can. Needs root.

    It tries in a namespace that ends with the process that made it, so nothing can be left behind.
    """
    for program, lines in (("ip", _TRIAL), ("tc", _SHAPED)):
        if shutil.which(program) is None:
            return f"the program {program} is missing (apt install iproute2)"
    script = "ip -batch /dev/fd/3 && exec tc -batch /dev/fd/4"
    files = []
    try:
        for lines in (_TRIAL, _SHAPED):
            reading, writing = os.pipe()
            os.write(writing, ("\n".join(lines) + "\n").encode())
            os.close(writing)
            files.append(reading)
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", script.replace("fd/3", f"fd/{files[0]}").replace("fd/4", f"fd/{files[1]}")],
            pass_fds=files,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for file in files:
            os.close(file)
    return None if done.returncode == 0 else " ".join((done.stderr or done.stdout).split()) or "it failed without a word"


def relay_fault() -> str | None:
    """Why links cannot be shaped by the relay here; None if they can."""
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun (modprobe tun)"
    return None


def choose_shaping(asked: str = "auto") -> Shaping:
    """The shaping to use: what was asked for, or the better one that works (netem, else relay). Needs root.

    Raises:
        ShapingUnavailableError: what was asked for does not work here; says why and what to do.
    """
    if asked not in ("auto", *Shaping):
        raise ShapingUnavailableError(f"there is no shaping {asked!r}: there are auto, {', '.join(Shaping)}")
    if asked != Shaping.RELAY:
        fault = netem_fault()
        if fault is None:
            return Shaping.NETEM
        if asked == Shaping.NETEM:
            raise ShapingUnavailableError(f"this kernel cannot shape links by netem: {fault}; {_MEND}")
    fault = relay_fault()
    if fault is not None:
        raise ShapingUnavailableError(f"links cannot be shaped by the relay: {fault}")
    return Shaping.RELAY
