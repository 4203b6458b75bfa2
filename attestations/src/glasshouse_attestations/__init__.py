"""The claims of Glasshouse: statements, evidence, the wire protocol, and their verification."""
