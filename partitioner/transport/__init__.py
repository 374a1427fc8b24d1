"""Connections, one at a time: opened, used for exchanges, closed."""
