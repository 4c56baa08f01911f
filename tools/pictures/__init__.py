"""Draws the pictures that the documents show, each for light pages and for dark ones."""
