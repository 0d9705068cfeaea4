"""Runs as one HTML file that a person can read: no network, no framework, no text of data or models as markup.

`page.render` puts together what the modules of sections make of the cases that `saved` has read; `questions` packs the
questions for `page.js`, which lists, searches and filters them.
"""
