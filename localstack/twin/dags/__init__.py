"""The DAGs on this machine: Airflow in an environment of its own, and all that their tasks reach."""
