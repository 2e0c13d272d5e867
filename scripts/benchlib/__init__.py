"""``scripts/bench``: what the daemons reach, application to application, and what they need for it."""
