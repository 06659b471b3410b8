"""Remote attestation in the roles of RATS (RFC 9334): evidence, reference values, verifier, attestation result."""
