"""The HTTPS API: reads precomputed lists, blends in what the visitor just did, takes in events."""
