"""Sources, splits and preparation: from a declared source to files a run reads. No torch."""
