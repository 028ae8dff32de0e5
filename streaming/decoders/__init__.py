"""What devices and their networks publish, to frames: a file a decoder, its examples beside it (``streaming/intake/decoders.py``)."""
