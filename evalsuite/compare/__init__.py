"""Two runs on the same questions: paired tests, what changed, and how fast each was."""
