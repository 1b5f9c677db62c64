"""Amazon SageMaker on this machine: moto's API, whose training jobs really train.

Real are the requests, checked by botocore's own description of the API and by the service's rules; the
contract of `/opt/ml`; the channels, checkpoints and `model.tar.gz` in S3; string hyperparameters; states,
their order and times; reasons of failures; SIGTERM and, 120 seconds later, SIGKILL; time limits; the log in
CloudWatch Logs and the metrics that its expressions find. Errors have the service's own words where those
are known.

Not real: no image is pulled, and the program of this checkout runs in its place, as this machine's user and
with all it can reach; role, VPC, keys, the instance's size and network isolation are taken down and not
obeyed; an instance is there at once. One instance a job. A spot job is billed in full, since nobody knows the
spot price; jobs of tuning, processing and pipelines are moto's, which run nothing.
"""
