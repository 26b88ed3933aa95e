"""Pages for people, as HTML.

Belongs here: what the pages of the REST port show, their tables and curves, and the policy that keeps foreign scripts
out. Does not belong here: what is shown (`core.admin`, `core.openapi`), and paths, styles and scripts
(`deployments.pages`).
"""
