"""What people look at: dashboards as code, rules and alerts, and dashboards drawn without Grafana."""
