"""Tests of how processes are built, and of what they keep."""
