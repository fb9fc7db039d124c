"""Runs shown to a person (live or as plain lines), to a program (JSON) and to a CI server (JUnit).

Every view here is an observer: a callable that takes one event. Views that hold something open have `close()`.
"""
