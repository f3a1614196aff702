"""Foreign files as plain data: what they name is never run.

``pickles`` reads pickles opcode by opcode, ``errors`` says in one line what is wrong with a file.
Importing this package imports neither torch nor pandas.
"""
