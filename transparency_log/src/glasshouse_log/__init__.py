"""A transparency log after C2SP: proofs, checkpoints, witnesses, and the servers that keep them."""
