"""The command line: thin over the stages, and the only place that prints."""
