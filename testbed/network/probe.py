"""Which shaping this kernel can do, found out by trying."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from testbed.documents.resolved import LinkParameters
from testbed.network import rtnetlink, shape
from testbed.network.errors import NetworkError, ShapingUnavailableError
from testbed.network.namespace import call_in_new
from testbed.network.rtnetlink import Route
from testbed.network.shape import Shaping

_TRIAL = (
    "link add trial type veth peer name other",
    "link add in-trial type ifb",
)
_LINK = LinkParameters(1e6, 0.001, 0.0001, 0.01, burst=2.0)
_MEND = "use --shaping relay, or a kernel with it (modprobe sch_netem; Debian: apt install linux-image-amd64)"


def netem_fault() -> str | None:
    """Why links cannot be shaped by netem here; None if they can. Needs root.

    It tries in a namespace that ends with the thread that made it, so nothing can be left behind.
    """

    def attempt() -> str | None:
        text = "\n".join(_TRIAL) + "\n"
        done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return " ".join((done.stderr or done.stdout).split()) or "ip failed without a word"
        trial, before = socket.if_nametoindex("trial"), socket.if_nametoindex("in-trial")
        route = Route()
        try:
            route.apply(
                [
                    rtnetlink.htb_root(trial),
                    *shape.queueing(trial, shape.own_queue("trial", _LINK), _LINK, new=True),
                    rtnetlink.arriving_class(trial, "other", 1),
                    rtnetlink.clsact(trial),
                    rtnetlink.redirect(trial, rtnetlink.INGRESS, before),
                    rtnetlink.redirect(trial, rtnetlink.EGRESS, before),
                    shape.serving(before, _LINK, new=True),
                    shape.flying(before, _LINK, None, new=True),
                ]
            )
        except NetworkError as error:
            return str(error)
        finally:
            route.close()
        return None

    if shutil.which("ip") is None:
        return "the program ip is missing (apt install iproute2)"
    return call_in_new(attempt)


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
