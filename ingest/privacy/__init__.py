"""What is stored of one person: told, exported, and erased."""
