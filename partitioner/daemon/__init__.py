"""The processes: a router, and a state server of our own; how each is built, started and stopped."""
