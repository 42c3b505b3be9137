"""pdmesh's services: the gateway, the router and the workers, and what they share."""
