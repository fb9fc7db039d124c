"""What runs did, written down before and after each step, in SQLite or PostgreSQL; and who holds which lock.

    open_store(url) -> Store                 the tables; `open_store(default_url())` is this directory's journal
    Recorder(store, about)                   an observer that writes a run's events
    Locks(store)                             one holder a name; the lock of a dead process is taken over

Nothing of this is loaded by commands that run nothing, such as `check`.
"""
