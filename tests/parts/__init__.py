"""The real parts that tests stand on: Docker Engine and Compose, images made without a registry, PostgreSQL.

Nothing here is a stand-in. What is missing is an error that names what installs it, never a skipped test.
"""
