"""The version of this distribution."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("pdmesh")
except PackageNotFoundError:  # run from a source tree that is not installed
    VERSION = "0+source"
