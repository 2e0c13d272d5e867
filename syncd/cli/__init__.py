"""The command line: verbs, pictures and exit codes. No sync logic: it asks the daemon, or arranges files without it."""
