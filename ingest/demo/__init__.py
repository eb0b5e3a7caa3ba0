"""The demo's shop: made-up people who do believable things, the same ones for the same seed.

What is here knows no server's insides: its events go the way of everybody's, by POST.
"""
