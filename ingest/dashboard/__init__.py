"""The dashboard: pages for those who sign in, on the port where questions are answered."""
