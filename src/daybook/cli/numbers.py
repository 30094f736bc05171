"""The most of numbers on the command line: each has a range."""

PATIENCE_SECONDS_MAX = 86_400.0
"""Longest that a command waits for anything: a day."""

LINES_PER_SECOND_MAX = 1_000_000.0
