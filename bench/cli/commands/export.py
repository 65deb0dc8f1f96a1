"""`bench export`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.output import offline_option, store_option
from bench.core.errors import UserError
from bench.core.printable import printable

EPILOG = """\b
Examples:
  bench export 3f9a02 model              merged; timm or transformers opens it
  bench export 3f9a02 adapter --adapter  what was trained, alone
"""


@click.command(epilog=EPILOG)
@click.argument("key")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--adapter", is_flag=True, help="The adapter alone, not merged.")
@offline_option
@store_option
def command(key: str, folder: Path, adapter: bool, offline: bool, store: str | None) -> None:
    """Write the trained model of the run KEY into FOLDER."""
    from bench.declarations.catalog import Catalog
    from bench.execute.session import access_for
    from bench.plan.grid import again
    from bench.store import Store, store_path

    opened, access = Store(store_path(store)), access_for(offline)
    found = opened.find(key)
    record, kept = opened.record(found), opened.folder(found)
    if record is None or kept is None:
        raise UserError(f"{found[:12]} is {opened.state(found)}; only a finished run can be exported.")
    run = again(record["request"], Catalog.find(), access)
    if run.key != found:
        raise UserError(
            f"{found[:12]} cannot be built again as it was: its declaration, code or data changed since "
            f"(`bench why {found[:12]}` says which)."
        )
    from bench.execute.export import export

    for name in export(run, kept, folder, access, adapter):
        click.echo(printable(f"{folder}/{name}"))
