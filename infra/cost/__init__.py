"""What a month of a stage costs, worked out before anything is deployed: `python -m infra.cost --help`.

templates ─► usage, by rules ─► priced lines ─► report
"""
