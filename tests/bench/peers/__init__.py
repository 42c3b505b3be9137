"""pdmesh beside other gateways and routers, the same load in the same run: `make bench-peers`.

peer     who they are: pinned requirement, command line, configuration
install  a virtual environment for each, under build/peers
engine   the OpenAI-compatible engine that HTTP peers need: paced tokens, no model
mesh     pdmesh with its simulated engine, started process by process
spread   a decode worker whose streams tick each by itself
load     the clients, a process of their own
tree     CPU time of a process and all that it started
report   the figures as a page
plot     the figures as bars
"""
