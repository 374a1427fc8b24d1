"""What operators see: logs now; metrics, admin HTTP and the status page with a later version."""
