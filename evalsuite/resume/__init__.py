"""Going on with a run that was killed: what answers depend on, where finished batches are kept, and who may write."""
