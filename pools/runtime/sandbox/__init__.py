"""Isolation of jobs on Linux: what a horse gives up after the fork, before the job's code runs.

Standard library alone: it runs in the application's interpreter. ``enclosure`` sets a horse up, ``meter`` looks at it
from outside, ``probe`` finds out what this host can give. docs/isolation.md says what each stops, and what not.
"""
