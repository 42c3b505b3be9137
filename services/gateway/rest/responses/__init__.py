"""OpenAI's Responses API in data, without state: bodies in, bodies and server-sent events out. No I/O."""
