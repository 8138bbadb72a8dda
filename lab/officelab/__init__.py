"""The Thymus lab: a small office in network namespaces, on an accelerated clock."""
