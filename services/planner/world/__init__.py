"""The virtual world: the router's real core, workers and callers in virtual time.

    timeline   calls in the order of their virtual times
    mesh       the core, and what its actions do; `tests/sim` plays its seeded lives in it too
    engine     the sim engine's scheduling by counts alone, many steps at once
    worker     an engine under the router: jobs in, steps out, handoffs over links
    callers    who asks, and what each of them sees

Nothing waits and nothing is random but by a seed, so a run is the same whenever it is repeated.
"""
