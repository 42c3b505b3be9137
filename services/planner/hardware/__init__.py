"""Models' shapes, GPUs, and the memory that one leaves to the other's KV."""
