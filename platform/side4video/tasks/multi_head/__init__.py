"""Several heads: a class of each of them a clip, such as verb and noun."""
