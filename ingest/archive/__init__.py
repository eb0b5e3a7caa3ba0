"""The columnar copy of the events: Parquet files, which of them count, and a view for questions."""
