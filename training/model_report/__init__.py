"""The report of a retrain for people: whether the new model is better, for whom, and why."""
