"""What the bridge alone needs: the decoders, and how many new names an hour may bring."""
