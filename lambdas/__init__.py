"""The functions that AWS Lambda runs."""
