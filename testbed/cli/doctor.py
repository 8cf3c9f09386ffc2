"""`testbed doctor`: what this machine can do, what is missing, and the command that mends it."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False) -> None:
    """Say what this machine can do and what is missing, with the command that mends it (exit status 1 if needed)."""
    import msgspec

    from testbed.network.diagnosis import diagnose

    found = diagnose()
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        group = ""
        for check in found.checks:
            if check.group != group:
                group = check.group
                print(group)
            word = "ok" if check.ok else "MISSING" if check.needed else "absent"
            print(f"  {word:8}{check.name:13}{check.detail}" + (f"; mend it: {check.remedy}" if check.remedy else ""))
        print(f"shaping: {found.shaping or 'unknown'}")
        print("ready" if found.ok else "not ready: see what is MISSING above")
    raise typer.Exit(0 if found.ok else 1)
