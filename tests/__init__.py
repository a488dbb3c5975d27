"""Tests of the package and of what crosses the border between the languages."""
