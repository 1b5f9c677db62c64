"""What has to be done every few minutes, whether or not anybody calls the API."""
