"""The methods of the catalogue: what each learns, and how it scores."""
