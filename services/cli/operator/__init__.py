"""The operator's commands: `pdmesh fleet`, `doctor`, `drain` and the like, over the router's OperatorService.

commands             the table of all, and running one
settings, client     where the router is, and asking it
fleet                what there is, and what to do about its queues
pairs, doctor        what is wrong
worker, policy       orders
dry_run              where a request would go
"""
