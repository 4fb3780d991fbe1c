"""`side4video check-plugin`: tries the parts of a plug-in before they are used."""
