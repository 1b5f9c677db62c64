"""What the DAGs do, as plain functions: none of them needs Airflow."""
