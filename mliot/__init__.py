"""MLIoT's kernel: the data contract, settings, use cases, gate, model store, and the command line."""
