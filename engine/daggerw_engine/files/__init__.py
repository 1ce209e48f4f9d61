"""Directories and files by their content, and how they come from and go to the host."""
