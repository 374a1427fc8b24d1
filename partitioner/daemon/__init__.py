"""The processes: a router, and a state server of our own; how each is built, started and stopped."""

from partitioner.daemon.process import allow_open_files
from partitioner.daemon.router import Welcome, run_router
from partitioner.daemon.state_server import LOOPBACK, StateServerOptions, run_state_server

__all__ = [
    "LOOPBACK",
    "StateServerOptions",
    "Welcome",
    "allow_open_files",
    "run_router",
    "run_state_server",
]
