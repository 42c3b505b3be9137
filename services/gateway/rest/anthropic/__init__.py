"""Anthropic's Messages API in data: bodies in, bodies and server-sent events out. No I/O."""
