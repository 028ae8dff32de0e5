"""What the HTTP servers of the stack have in common: whom they answer, and how long they wait for a request."""
