"""EDGE network: TLS with pinned certificates, links, the listener, the dialer, pairing by token (DESIGN §7)."""
