"""Answers graded by a language model: prompts, judges (a server or a local model), and the grades kept on disk."""
