"""Models of users' own."""
