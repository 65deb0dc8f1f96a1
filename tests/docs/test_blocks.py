"""Every code block of README and docs does what the page says, in order, in a fresh benchmark project per page."""

from __future__ import annotations

from pathlib import Path

import pytest

from .blocks import Block, Session, blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [(block, place) for page in PAGES for place, block in enumerate(blocks(page))]


@pytest.fixture(scope="module")
def sessions() -> dict[Path, Session]:
    """One session per page, made when its first block is run."""
    return {}


@pytest.fixture(scope="module")
def broken() -> dict[Path, str]:
    """Pages with a block that failed: what stands below it is not tried."""
    return {}


@pytest.mark.parametrize(("block", "place"), BLOCKS, ids=[block.place for block, _ in BLOCKS])
def test_a_block_does_what_the_page_says(
    block: Block,
    place: int,
    sessions: dict[Path, Session],
    broken: dict[Path, str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if block.reason:
        pytest.skip(f"not run: {block.reason}")
    if block.page in broken:
        pytest.skip(f"{broken[block.page]} failed")
    first = block.page not in sessions
    if first:
        sessions[block.page] = Session(tmp_path_factory.mktemp(block.page.stem))
    session = sessions[block.page]
    monkeypatch.chdir(session.project)
    monkeypatch.setenv("BENCH_STORE", str(session.project / "bench-store"))
    monkeypatch.setenv("BENCH_CACHE", str(session.project / "cache"))
    earlier = [one for one in blocks(block.page)[:place] if not one.reason] if first else []
    try:
        for one in [*earlier, block]:  # the earlier ones where only this block was asked for
            session.carry_out(one)
    except BaseException:
        broken[block.page] = block.place
        raise


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    import re

    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
