"""Which arms of a sweep take the seats of an endless pass: the queue, Optuna, successive halving. Pure decisions."""
