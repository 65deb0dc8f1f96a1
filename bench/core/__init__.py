"""The ground the stages stand on: errors, the canonical form, named random streams, files."""
