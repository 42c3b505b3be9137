"""Which fleet keeps a promise at the least cost: a fast estimate narrows, the simulator decides."""
