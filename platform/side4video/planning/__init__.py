"""What a run will take, before it runs: parameters, multiply-adds, memory. No GPU and no weights are needed."""
