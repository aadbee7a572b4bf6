"""Router: the hub process, its policies and admission."""
