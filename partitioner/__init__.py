"""A router that makes many ASP.NET state servers look like one, and a state server for Linux."""

__version__ = "0.1.0"
