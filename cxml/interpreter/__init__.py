"""Runs documents: the engine, its ports and the contract between it and the verbs.

Owns the order of verbs, the replacement of documents, the end of a call and what happens after an error. Knows no SIP,
no HTTP and no storage: those stand behind the Protocols in ``ports``.
"""
