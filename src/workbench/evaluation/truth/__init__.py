"""What is known of a span: labels of a file, and what people answered, up to an instant."""
