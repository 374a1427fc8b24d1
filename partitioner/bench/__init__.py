"""The load generator and checker: web requests as the real client makes them, every answer judged."""
