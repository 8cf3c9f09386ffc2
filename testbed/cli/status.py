"""`testbed status`: nodes, links, processes, counters."""

from __future__ import annotations

from typing import Annotated

import typer


def status(
    testbed: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One testbed; else all.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The same.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Show what is up: nodes, links as they are set, processes, and what the links have carried."""
    import msgspec

    from testbed.cluster.surveys import survey_all
    from testbed.network.ownership import LOCAL, names_up, require_root, resolve_name

    require_root()
    asked = testbed or name
    found = [there for one in ([resolve_name(asked)] if asked else names_up()) for there in survey_all(one)]
    if json:
        print(msgspec.json.encode({"testbeds": found}).decode())
        return
    if not found:
        print("no testbed is up")
    for one in found:
        where = "" if one.machine == LOCAL else f" on {one.machine}"
        print(f"{one.name}{where}: {one.condition}" + (f", links shaped by {one.shaping}" if one.shaping else ""))
        if one.problem:
            print(f"  {one.problem}")
            continue
        for node in one.nodes:
            addresses = " ".join(f"{interface}={address}" for interface, address in node.addresses.items())
            print(f"  {node.kind:13}{node.name:13}{'up' if node.alive else 'GONE':5}{addresses}")
        for link in one.links:
            set_to, carried = link.parameters, link.counters
            first, second = link.link if link.direction == "up" else link.link[::-1]
            print(
                f"  {first:>12} -> {second:12} {set_to.bandwidth_bps / 1e6:g} Mbit/s, {set_to.delay_s * 1e3:g} ms"
                f" ± {set_to.jitter_s * 1e3:g}, loss {set_to.loss * 100:g} %;"
                f" {carried.packets} packets, {carried.bytes} bytes, {carried.dropped} dropped"
            )
        print(
            f"  {len(one.processes)} processes: "
            + ", ".join(f"{process.name} ({process.pid})" for process in one.processes)
        )
