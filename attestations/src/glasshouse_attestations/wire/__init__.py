"""Generated messages of the wire protocol; their source is ``attestations/proto``."""
