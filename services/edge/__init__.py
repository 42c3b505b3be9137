"""Gateway and router in one process."""
