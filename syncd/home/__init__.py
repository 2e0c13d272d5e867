"""The home directory of a daemon: where it is, config.toml, the identity and the lock (DESIGN §6)."""
