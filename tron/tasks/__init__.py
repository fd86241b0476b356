"""Durable tasks: what a persona was asked to do, step by step, with a person's yes where it must.

`contract` holds the words, `states` what may follow what, `records` the rows (the one truth),
`policy` what needs asking, `planner` the way from a wish to steps, `running` one step at a time,
`engine` the durable queue (DBOS), `desk` the front everybody else talks to.
"""
