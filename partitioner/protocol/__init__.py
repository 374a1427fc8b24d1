"""Bytes to messages and back, without a socket: the wire protocol of protocol.md."""
