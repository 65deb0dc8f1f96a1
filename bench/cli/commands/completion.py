"""`bench completion`."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a SHELL; for bash: eval "$(bench completion bash)"."""
    from click.shell_completion import get_completion_class

    from bench.cli.main import group

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(group, {}, "bench", "_BENCH_COMPLETE").source())
