"""Where the store service writes what the topics hold."""
