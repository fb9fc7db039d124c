"""The runbook as a document in Markdown, written from the playbooks, roles and tools themselves.

write(Request(...)) -> str
"""
