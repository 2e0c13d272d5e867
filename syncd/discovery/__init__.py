"""Discovery: primaries advertise themselves by mDNS, auxiliaries find them. Hints only, never trusted (DESIGN §7)."""
