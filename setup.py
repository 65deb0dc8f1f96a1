"""The one thing pyproject.toml cannot say: which packages the mapped folders `methods` and `tasks` are."""

from setuptools import find_namespace_packages, find_packages, setup

MAPPED = [
    ".".join(["bench", root, *inner])
    for root in ("methods", "tasks")
    for inner in [[], *([name] for name in find_namespace_packages(root, exclude=["*__pycache__*"]))]
]

setup(packages=[*find_packages(include=["bench", "bench.*"]), *MAPPED])
