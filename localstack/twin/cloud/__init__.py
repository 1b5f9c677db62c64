"""The whole cloud on one machine: `cdk deploy` against LocalStack, and real servers where it has none."""
