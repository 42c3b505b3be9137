"""The gateway's links to the routers, and the streams of requests on them."""
