"""The router: which server a session is on, and what keeps that true. The slow path, which defines what is
right."""
