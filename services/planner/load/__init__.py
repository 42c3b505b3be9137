"""Who asks, when, and for how much."""
