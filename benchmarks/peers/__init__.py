"""Other ways of scoring the same questions on the same machine in one run: what `packed` is measured against."""
