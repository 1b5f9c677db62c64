"""A search for hyperparameters, and the judgement of what it found."""
