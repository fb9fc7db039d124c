"""Who called what, and what came of it: one line of JSON a call, each chained to the line before by a hash.

AuditLog(path).append(Entry(…))          one line, with the system before this returns
AuditLog(path).demand()                  raises AuditError unless a line could be appended
verify(path) -> Verified                 every line that was changed, removed, moved or cut off
newest(path, wanted, most)               the newest entries, for reading
Steps(log_of, caller)                    an observer that writes a run's steps
"""
