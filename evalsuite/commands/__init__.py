"""The commands of `evalsuite`, one a module."""
