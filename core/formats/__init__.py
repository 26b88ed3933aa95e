"""Texts of configuration files as trees whose places are known, so that every mistake is reported with its line.

Belongs here: protobuf's text format and YAML, whatever a file says in them. Does not belong here: what files mean
(`core.config`).
"""
