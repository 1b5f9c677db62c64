"""External recommenders, each with honest settings, on the split that `benchmarks.quality` wrote.

They run in an environment of their own (`locks/peers.txt`), because RecTools needs an older numpy, so nothing
here imports what the project's own environment has: files are all that the two sides share.
"""
