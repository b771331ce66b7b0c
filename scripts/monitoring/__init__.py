"""What those who watch a server are given, made from the table of its metrics: a page, and a dashboard of Grafana's."""
