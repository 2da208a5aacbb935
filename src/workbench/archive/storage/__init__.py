"""How small and large reads of a bucket are made cheap: another client of S3, and what is kept."""
