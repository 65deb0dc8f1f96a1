"""Execution: a run becomes a trained network and its predictions. The only stage that imports torch."""
