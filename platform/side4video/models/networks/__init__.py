"""The trainable networks, one module per method, with the method's name."""
