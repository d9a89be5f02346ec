"""Measuring fastconv beside other libraries on the layers of real networks: what `fastconv bench` runs.

`networks` lists `layers`; `operators` says what is done with them, `peers`, `gradients` and `pooling` who
does it (each a `contender`); `run` measures, with `peak` for what the machine can do; `summary`, `report` and
`plot` show; `command` reads the arguments.  Nothing else in the package imports this but the command line.
"""
