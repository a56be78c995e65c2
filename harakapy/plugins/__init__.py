"""The plugins that come with harakapy, one a file, written against the public API only.

Each is an entry point of the group ``harakapy.plugins``, as a plugin of anybody else is, and its class
docstring is its manual.
"""
