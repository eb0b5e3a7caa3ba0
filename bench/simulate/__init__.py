"""The simulation: the pipeline's own code against a model of everything around it, from a seed.

Time, the event loop, Postgres, the network and the disk are models that one random sequence drives,
so a seed is a schedule: the same each time, in any process. A minute takes milliseconds, and what
fails is cut down to the shortest plan that still does.
"""
