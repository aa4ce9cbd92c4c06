"""Checks of the exercises: random inputs, and messages that name the likely slip. One module a chapter."""
