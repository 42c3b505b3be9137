"""The planner: what a fleet of GPUs would do, before anybody rents it.

    timing     milliseconds of an engine step: measured on the silicon, fitted to a mesh, or a roofline
    hardware   models' shapes, GPUs, and what of a GPU's memory is left for KV
    load       who asks: open-loop arrivals, traces, closed-loop clients
    world      the router's real core, virtual engines and virtual time
    results    what the callers saw: quantiles, attainment, goodput, series over time, plots
    planning   the search for the cheapest fleet that keeps an SLO

Nothing here is imported by what serves.
"""
