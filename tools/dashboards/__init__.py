"""The Grafana dashboards in deploy/grafana, made from one short description of each."""
