"""What the services share, one named package per subject."""
