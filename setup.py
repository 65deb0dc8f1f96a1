"""The one thing pyproject.toml cannot say: which packages the mapped folders are."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["bench", "bench.*"]), "bench.methods", "bench.tasks"])
