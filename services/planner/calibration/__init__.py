"""Step times learnt from a running mesh: a few requests per tier, least squares, one profile."""
