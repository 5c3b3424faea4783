"""The command line: thin commands over the library. Importing it imports no torch."""

from selfmoa.cli._app import main

__all__ = ["main"]
