"""What the bridge alone needs: how many new names an hour may bring."""
