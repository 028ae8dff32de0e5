"""The warehouse: Kafka into DuckDB (``ingest``), dbt over it (``prepare``, ``dbt``), and who may open the file when (``access``)."""
