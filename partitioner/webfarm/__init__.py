"""Configuration files of web servers: read safely, put together as ASP.NET does, compared (pure)."""
