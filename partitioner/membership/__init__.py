"""Who is in the pool and how they fare: backends, their health, snapshots, and what to do on a failure."""
