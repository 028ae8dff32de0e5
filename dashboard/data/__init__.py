"""What the pages show, as rows: read from the store, the services and the use cases."""
