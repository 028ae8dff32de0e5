"""What ours is measured beside, where it is a server of its own: as its makers' first page shows it, and as well as that allows."""
