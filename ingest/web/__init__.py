"""What people and tools look at: the documentation page and the OpenAPI document."""
