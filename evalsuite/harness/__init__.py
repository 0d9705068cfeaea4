"""What stands between pytest and an evaluation: options, one session's shared work, one case, the closing table."""
