"""The functions of `import side4video`: what the commands do, for programs and notebooks."""
