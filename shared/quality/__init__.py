"""How good answers are: consensus of several, agreement between people, accuracy where the truth is known.

Arrays in, arrays out: no database, no files. The pages, the trainer and the benchmarks run the same code.
"""
