"""What figures are seen as: each view asks one kind of question, and says how its answer is shown.

A page of its own shows one, and a board several.
"""
