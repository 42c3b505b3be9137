"""Commands of the planner: `pdmesh simulate`, `plan`, `calibrate`, `advise`."""
