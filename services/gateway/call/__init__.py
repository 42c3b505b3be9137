"""The neutral middle: a call, whatever API it came through, its streams at the router, and its answer."""
