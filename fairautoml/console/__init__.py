"""What command lines ask for, and results as text: shared by the commands and the benchmarks."""
