"""The trainable networks, one module a method, under the method's name."""
