"""Application interface (claims 20f, 24e): the edge to what applications already use."""
