"""What every service runs on: the effects it may yield, and the driver that performs them."""
