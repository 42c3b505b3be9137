"""Prefill beside decode, or apart from it: real vLLM on two cores, one worker on each.

load     arrivals of long prompts and chats, a process of its own
quiet    whether others used the machine meanwhile
verdict  what the clients saw: quantiles, goodput, where which shape loses
report   the figures as a page
plot     the figures over the rate
"""
