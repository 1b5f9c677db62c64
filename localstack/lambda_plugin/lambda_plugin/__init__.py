"""What LocalStack's community edition lacks where there is no Docker: Lambda's runtimes, custom resources."""
