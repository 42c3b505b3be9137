"""What a running mesh should change, by playing its own log on the fleets that it could be instead."""
