"""Trainings that take hours, each one command, with what came out recorded in `results/`."""
