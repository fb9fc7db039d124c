"""What the platform's tools stand on: where things lie on a host, what runs services, PostgreSQL, releases."""
