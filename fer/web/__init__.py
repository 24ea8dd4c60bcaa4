"""The demo page: one module a tab, and what they share.

`page` puts the tabs together, `server` serves them, `charts` draws every result as HTML.
"""
