"""Searches: every method tuned on the same budget, without seeing the test data.

`storage` keeps the trials (a journal, or a database), `samplers` proposes, `worker` asks and tells until the budget is
spent, `selection` chooses, `score` looks at the test afterwards. A trial is a run like any other; what Optuna keeps is
its number, its parameters and what validation said.
"""
