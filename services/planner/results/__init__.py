"""What callers and engines have seen, in memory that does not grow with simulated time."""
