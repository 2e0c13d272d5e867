"""Sync store, sync database and inbound queue in SQLite through aiosqlite, and their twins in memory."""
