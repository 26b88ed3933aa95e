"""The pages of the REST port for people, with their styles and scripts.

Belongs here: which path has which page, and the files that a page is made of. Does not belong here: HTML
(`core.pages`), and connections and the API (`deployments.rest`), which know nothing of these pages.
"""
