"""The built-in tasks: declarations, and the files they name."""
