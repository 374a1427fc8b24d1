"""Which servers should hold a session: from its ID to a preference list, and what a new map moves."""
