"""This package beside its peers: both sides in one run, interleaved. See README.md in this folder."""
