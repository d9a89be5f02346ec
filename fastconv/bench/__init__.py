"""Measuring fastconv beside other libraries on the layers of real networks: what `fastconv bench` runs.

`layers` says what is measured, `peers` who else computes it, `peak` what the machine can do, `run` measures,
`report` and `plot` show.  Nothing in the rest of the package imports this.
"""
