"""How a request finds a replica: the hub, its policies and admission."""
