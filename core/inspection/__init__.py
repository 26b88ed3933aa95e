"""What the files of a version say of it, without loading it: signatures, sizes, operations, and what a load would lack.

Belongs here: reading SavedModels for facts, judging these against what the runtime offers, and the forms in which they
are shown. Does not belong here: finding and reading files, and asking the runtime (`deployments.inspection`).
"""
