"""`bench completion`."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  eval "$(bench completion bash)"    as a line of ~/.bashrc
  bench completion fish > ~/.config/fish/completions/bench.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def command(shell: str) -> None:
    """Print the completion script of a SHELL: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    from bench.cli.main import group

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(group, {}, "bench", "_BENCH_COMPLETE").source())
