"""The `pdmesh` command: `up`, `serve`, `chat`, `demo`, `version`."""
