"""Ray: the only room that imports it. One run on Ray Train, whatever the number of workers."""
