"""Tells API Gateway who bears a token: a REST API has no authorizer for JWTs of its own."""
