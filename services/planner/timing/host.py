"""What kernels do not tell of a whole engine, learnt once from measurements of vLLM on H100.

`python -m tests.bench.planner fit` learns them anew, on the rows of tensor parallelism 2 and 4 alone, and
comes to 1.2 ms, 28 us and 1.11; these are rounded. `make validate` prints how the other rows fit.
"""

from services.worker.engine.sim.step_times import Host

VLLM = Host(step_ms=1.2, sequence_us=30.0, front_ms=10.0, prompt_factor=1.1)
