"""A policy tried out by the command: what it decided as a table, or what is wrong with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from testbed.documents.resolved import PolicySpec
    from testbed.offloading.checking import Tried


def try_out(written: str) -> None:
    """Try a policy, written as in a workload, on the shipped model's options; exit status 2 if anything is wrong."""
    from rich.console import Console

    from testbed.aecnn.loading import load_model
    from testbed.offloading.checking import try_policy
    from testbed.runtime.user_modules import make_importable, search_path

    specs = _specs(written)
    make_importable(search_path())
    profile = load_model().profile
    assert profile is not None  # the shipped model has one
    wrong = []
    for spec in specs:
        tried, faults = try_policy(spec.name, spec.options, profile)
        wrong += [f"policy '{spec.name}': {fault}" for fault in faults]
        if not faults:
            Console().print(_table(tried))
            print(f"{spec.name}: ok")
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        raise typer.Exit(2)


def _specs(written: str) -> tuple[PolicySpec, ...]:
    """The policies as a workload's `offloading` has them."""
    import yaml
    from pydantic import ValidationError

    from testbed.cli.errors import WrongInputError
    from testbed.documents.workload import Offloading

    try:
        return Offloading.model_validate({"policy": yaml.safe_load(written)}).policies
    except yaml.YAMLError as error:
        raise WrongInputError(f"--policy {written}: cannot be read; write it as in a workload") from error
    except ValidationError as error:
        raise WrongInputError(f"--policy {written}: {error.errors()[0]['msg']}") from error


def _table(tried: list[Tried]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("case")
    for heading in ("devices", "edges", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("decided", overflow="fold")
    for one in tried:
        decided = one.refused or ", ".join(f"{kind} {count}" for kind, count in one.decisions.items())
        table.add_row(one.case, f"{one.devices}", f"{one.edges}", f"{1e3 * one.seconds:.2f}", decided)
    return table
