"""Declarations: the YAML files that say what is measured and what is compared; found, read, checked and
merged.
"""
