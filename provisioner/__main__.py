"""`python -m provisioner` is `provision`."""

from .cli import program

program()
