"""The claims of an older guide: what each promises, how it is measured, and the table of what came of it."""
