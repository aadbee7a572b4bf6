"""States of running processes as bytes: object graphs by field name, without pickle."""
