"""The pages, a file for each kind: its routes, and what they show and change."""
