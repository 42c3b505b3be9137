"""What requests did before: `pdmesh requests` finds them in the request log, `pdmesh why` tells one's story.

record      one line of the log, as columns
archive     all lines of a directory in a table that SQL can ask
search      `pdmesh requests`
story       `pdmesh why`
"""
