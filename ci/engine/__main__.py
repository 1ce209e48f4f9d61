"""`python -m engine`: the command line as a program."""

import os

from engine.cli import main

status = main()
# All is put away; freeing what a session holds object by object would take longer than ending it did.
os._exit(status)
