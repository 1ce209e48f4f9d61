"""Commands of the command line; `main` is the entry point. Imported by `daggerw_engine.__main__` alone."""
