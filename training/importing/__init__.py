"""How an import understands, judges, orders and writes what it is given."""
