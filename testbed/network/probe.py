"""Which shaping this kernel can do, found out by trying."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testbed.network.errors import ShapingUnavailableError
from testbed.network.namespace import call_in_new
from testbed.network.shape import Shaping

_TRIAL = (
    "link add trial type veth peer name other",
    "link add in-trial type ifb",
)
_SHAPED = (
    "qdisc add dev trial root handle 1: stab overhead -14 linklayer ethernet htb default 1",
    "class add dev trial parent 1: classid 1:1 htb rate 1mbit burst 1600 cburst 1600",
    "qdisc add dev trial handle ffff: ingress",
    "filter add dev trial parent ffff: protocol all prio 1 u32 match u32 0 0"
    " action mirred egress redirect dev in-trial",
    "qdisc add dev in-trial root netem rate 1mbit delay 1ms 0.1ms loss 1%",
)
_MEND = "use --shaping relay, or a kernel with it (modprobe sch_netem; Debian: apt install linux-image-amd64)"


def netem_fault() -> str | None:
    """Why links cannot be shaped by netem here; None if they can. Needs root.

    It tries in a namespace that ends with the thread that made it, so nothing can be left behind.
    """

    def attempt() -> str | None:
        for program, lines in (("ip", _TRIAL), ("tc", _SHAPED)):
            text = "\n".join(lines) + "\n"
            done = subprocess.run([program, "-batch", "-"], input=text, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return " ".join((done.stderr or done.stdout).split()) or f"{program} failed without a word"
        return None

    missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
    return f"the program {missing[0]} is missing (apt install iproute2)" if missing else call_in_new(attempt)


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
