"""What providers have told us, for staff to look through."""
