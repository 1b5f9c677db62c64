"""Training: what a whole retrain takes, against RecTools' two-stage model and as a shop grows."""
