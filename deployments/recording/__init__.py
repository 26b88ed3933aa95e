"""Request logs as they are written: the sample of a version's answers, its queue and thread, and where records go.

Belongs here: collectors of records, their writers and the files. Does not belong here: what a record says
(`core.recording`), and answering (`deployments.inference`), which never waits for a log.
"""
