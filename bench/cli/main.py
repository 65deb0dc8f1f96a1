"""`bench`: one small group whose commands are imported when they are called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from bench.core.errors import Interrupted, UserError, nearest
from bench.core.printable import printable

COMMANDS = {
    "run": "Run methods on tasks; finished runs are not run again.",
    "sweep": "Tune methods on one budget, on validation alone, and confirm what was chosen.",
    "plan": "Show what a run would do, and its hours, disk and downloads.",
    "list": "List tasks, methods, backbones or suites.",
    "show": "Show a task, method, backbone, suite or record whole.",
    "status": "Show what the store holds: done, running, failed, queued.",
    "table": "Show the results as a table.",
    "compare": "Compare two methods: difference, interval, p, and how many seeds would tell.",
    "power": "Say how many seeds find a difference, before any is spent.",
    "publish": "Write a leaderboard's records and tables; check that they agree.",
    "verify": "Derive a board's keys and scores again from its evidence.",
    "reproduce": "Run one record again and tell by how much it differs.",
    "submit": "Pack records and predictions, check a received pack, let it join a board.",
    "cite": "Print what to cite for a leaderboard.",
    "data": "Fetch, verify and cache the data of tasks.",
    "check": "Try declared tasks on their twins: data, one batch, metrics.",
    "why": "Say what a key is made of, and which input changed.",
    "score": "Score finished runs again from their stored predictions.",
    "export": "Write a record's trained model, merged, or its adapter.",
    "store": "Merge stores, remove records, show disk use.",
    "completion": "Print the completion script for a shell.",
}

EPILOG = """\b
Examples:
  bench run lora=demo/digits                       one method, one task
  bench run 'probe,lora,full=glue/*' --seeds 3     a grid
  bench run lora=glue/rte adaptation.params.rank=16 task.budget.epochs=5
  bench table 'glue/*'                             the results so far
"""


class _Closed(Exception):
    """Whoever read the output has closed it (`bench list | head`)."""


@contextlib.contextmanager
def _open_output() -> Iterator[None]:
    """Name a closed pipe before click does: click would exit with 1, which says that a run failed."""
    try:
        yield
    except BrokenPipeError:
        raise _Closed from None


class Lazy(click.Group):
    """Imports a command's module when the command is asked for."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with _open_output():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _open_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"bench.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"bench has no command {args[0]!r}.{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="methodbench", prog_name="bench")
def group() -> None:
    """Declarative benchmarks for deep learning: which method is better, said honestly."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a run failed, 2 a mistake in the request, 130 interrupted."""
    try:
        group.main(args=list(arguments) if arguments is not None else None, prog_name="bench", standalone_mode=False)
    except UserError as error:
        _complain(str(error))
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        _complain(_usage(error))
        sys.exit(2)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt, Interrupted):
        _complain("stopped.")
        sys.exit(130)
    except _Closed:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise  # no file's fault
        _complain(f"{os.fsdecode(error.filename)}: {error.strerror}.")
        sys.exit(2)


def _usage(error: click.ClickException) -> str:
    """A click error as one sentence, with the nearest legal word and where to read on."""
    text = error.format_message()
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return text
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param is not None else None
    if isinstance(kind, click.Choice):
        words = text.split("'")
        text += nearest(words[words.index(" is not one of ") - 1], kind.choices) if " is not one of " in words else ""
    return f"{text} See {error.ctx.command_path} --help."


def _complain(text: str) -> None:
    print(f"bench: {printable(text, newlines=True)}", file=sys.stderr)
