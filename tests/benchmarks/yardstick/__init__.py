"""The yardstick: what an exchange costs the router, as a ratio to what it costs HAProxy in the same run."""
