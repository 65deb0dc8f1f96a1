"""Checks that a part written by anybody can be held to."""
