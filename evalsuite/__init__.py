"""evalsuite: pytest benchmarks that make an LLM evaluation many times faster and prove that not one answer changed."""

__version__ = "0.1.0"
