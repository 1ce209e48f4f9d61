"""The command line's own commands, which begin in `main`. Imported by `daggerw_engine.__main__` alone."""
