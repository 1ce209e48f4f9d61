"""Directories and files by their content, with upload from the host and export to it."""
