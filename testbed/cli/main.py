"""The command `testbed`: its verbs, and what errors become at a terminal."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from testbed.cli import (
    certify,
    diff,
    doctor,
    down,
    evaluate,
    exec,
    link,
    machines,
    replay,
    report,
    reproduce,
    run,
    schema,
    status,
    train,
    up,
    validate,
)
from testbed.cli.errors import WrongInputError
from testbed.documents.errors import DocumentErrors
from testbed.network.errors import NetworkError, RefusedError
from testbed.offloading.errors import PolicyError

app = typer.Typer(
    name="testbed",
    help="An emulated device-edge network, real split-CNN inference over it, and an account of every job's deadline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(doctor.doctor)
app.command()(validate.validate)
app.command()(schema.schema)
app.command()(up.up)
app.command()(certify.certify)
app.command()(status.status)
app.command("exec", context_settings={"ignore_unknown_options": True})(exec.exec_)
app.command()(link.link)
app.command()(run.run)
app.command()(report.report)
app.command()(replay.replay)
app.command()(diff.diff)
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(train.app, name="train")
app.command()(evaluate.evaluate)
app.add_typer(machines.app, name="machines")
app.command()(down.down)


def main() -> None:
    """Run the command. Exit status: 0 done, 1 it failed, 2 wrong input, 130 interrupted and cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        app()
    except (DocumentErrors, WrongInputError, RefusedError, PolicyError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not _expected(error):
            raise
        print(f"testbed: {error}", file=sys.stderr)
        sys.exit(1)


def _expected(error: Exception) -> bool:
    """Whether the error says all that a user needs; any other is a fault of this program, and shows where."""
    if isinstance(error, NetworkError | OSError):
        return True
    return type(error).__name__ in {"RayError", "AssemblyError"}  # their modules are slow to import


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
