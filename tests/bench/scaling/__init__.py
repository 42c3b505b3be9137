"""Whether scaling holds what was promised, with sim workers as real processes: `make bench-scaling`.

shape    the experiment: engines, promises, how much slower than life it runs
load     clients: a burst of streams that ask again and again, or a trace's requests at their times
watch    what the router says of its tiers, once a second
verdict  what the clients saw, against the promises
plot     all of it over time
"""
