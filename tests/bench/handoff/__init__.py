"""What the handoff of a KV cache costs, with real vLLM and NIXL on the CPU, one worker on each of two cores.

model    a model with as much KV per token as far larger ones have
memcpy   what this machine copies in memory, in the same run
asking   requests whose times and receipts are kept
measure  the experiments
report   the figures as a page
"""
