"""Leaderboards: declared, rebuilt from records, with ties shown as ties.

`declare` reads a board's file, `collect` takes its records and per-item evidence from a store, `records` and `evidence`
keep them beside it, `build` makes every table from those alone, `render` writes Markdown, CSV and LaTeX.
"""
