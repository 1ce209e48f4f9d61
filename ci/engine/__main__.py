"""`python -m engine`: the command line as a program."""

import sys

from engine.cli import main

sys.exit(main())
