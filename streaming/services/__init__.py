"""The services, a page each: what is read, decided and written."""
