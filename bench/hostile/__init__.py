"""The command `hostile`: what misbehaving peers cost everybody else."""
