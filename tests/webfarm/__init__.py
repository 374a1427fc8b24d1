"""The configuration files of web servers, compared."""
