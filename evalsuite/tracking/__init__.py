"""A folder of checkpoints evaluated one by one, each once, and what became of the scores."""
